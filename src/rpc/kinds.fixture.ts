import { create, createFileRegistry, type DescService } from '@bufbuild/protobuf';
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProtoSchema,
} from '@bufbuild/protobuf/wkt';

const method = (name: string, clientStreaming: boolean, serverStreaming: boolean) => ({
  name,
  inputType: '.test.v1.Item',
  outputType: '.test.v1.Item',
  clientStreaming,
  serverStreaming,
});

/** test.v1.Kinds: a method of each kind, over messages of one number and one text. The contract has no streams yet. */
export const Kinds: DescService = (() => {
  const field = (name: string, number: number, type: FieldDescriptorProto_Type) => ({
    name,
    number,
    jsonName: name,
    type,
    label: FieldDescriptorProto_Label.OPTIONAL,
  });
  const file = create(FileDescriptorProtoSchema, {
    name: 'test/v1/kinds.proto',
    package: 'test.v1',
    syntax: 'proto3',
    messageType: [
      {
        name: 'Item',
        field: [
          field('number', 1, FieldDescriptorProto_Type.INT32),
          field('text', 2, FieldDescriptorProto_Type.STRING),
        ],
      },
    ],
    service: [
      {
        name: 'Kinds',
        method: [
          method('Unary', false, false),
          method('Server', false, true),
          method('Client', true, false),
          method('Bidi', true, true),
        ],
      },
    ],
  });
  const service = createFileRegistry(file, () => undefined).getService('test.v1.Kinds');
  if (!service) throw new Error('the fixture is broken');
  return service;
})();
