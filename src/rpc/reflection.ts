import {
  createRegistry,
  type DescFile,
  type DescService,
  type MessageInitShape,
  type Registry,
  toBinary,
} from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { Code } from '@connectrpc/connect';
import {
  type ServerReflectionRequest,
  type ServerReflectionResponseSchema,
  ServerReflection as V1,
} from '../../gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection as V1Alpha } from '../../gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { type Route, route } from './listener.ts';

type Ask = ServerReflectionRequest['messageRequest'];
type Answer = MessageInitShape<typeof ServerReflectionResponseSchema>['messageResponse'];

/** What a client may ask about. */
interface Schema {
  readonly services: readonly DescService[];
  readonly files: ReadonlyMap<string, DescFile>;
  readonly registry: Registry;
}

/** Server reflection about `services`, from their descriptors: what grpcurl and `buf curl` need to call without files. */
export function reflection(services: readonly DescService[]): Route[] {
  const files = withImports(services.map((service) => service.file));
  const schema = { services, files, registry: createRegistry(...files.values()) };
  const v1 = route(V1, {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) {
        const messageResponse = answerTo(request.messageRequest, schema);
        yield { validHost: request.host, originalRequest: request, messageResponse };
      }
    },
  });
  // The same messages under another package name.
  return [v1, { ...v1, service: V1Alpha }];
}

function answerTo(ask: Ask, { services, files, registry }: Schema): Answer {
  switch (ask.case) {
    case 'listServices':
      return { case: 'listServicesResponse', value: { service: services.map(({ typeName: name }) => ({ name })) } };
    case 'fileByFilename':
      return filesFor(files.get(ask.value));
    case 'fileContainingSymbol':
      return filesFor(fileOf(ask.value, registry));
    case 'fileContainingExtension': {
      const { containingType, extensionNumber } = ask.value;
      return filesFor(extensionsOf(containingType, registry).find((e) => e.number === extensionNumber)?.file);
    }
    case 'allExtensionNumbersOfType': {
      if (!registry.getMessage(ask.value)) return filesFor(undefined);
      const extensionNumber = extensionsOf(ask.value, registry).map((extension) => extension.number);
      return { case: 'allExtensionNumbersResponse', value: { baseTypeName: ask.value, extensionNumber } };
    }
    default:
      return { case: 'errorResponse', value: { errorCode: Code.InvalidArgument, errorMessage: 'unknown question' } };
  }
}

/** The file and all that it imports: a client need not ask again. */
function filesFor(file: DescFile | undefined): Answer {
  if (!file) return { case: 'errorResponse', value: { errorCode: Code.NotFound, errorMessage: 'not found' } };
  const fileDescriptorProto = [...withImports([file]).values()].map(({ proto }) =>
    toBinary(FileDescriptorProtoSchema, proto),
  );
  return { case: 'fileDescriptorResponse', value: { fileDescriptorProto } };
}

function withImports(files: readonly DescFile[], found = new Map<string, DescFile>()): Map<string, DescFile> {
  for (const file of files) {
    if (found.has(file.proto.name)) continue;
    found.set(file.proto.name, file);
    withImports(file.dependencies, found);
  }
  return found;
}

/** A method, field or enum value is found in the file of what holds it. */
function fileOf(symbol: string, registry: Registry): DescFile | undefined {
  const holder = symbol.slice(0, Math.max(0, symbol.lastIndexOf('.')));
  return (registry.get(symbol) ?? registry.get(holder))?.file;
}

function extensionsOf(typeName: string, registry: Registry) {
  return [...registry].filter((desc) => desc.kind === 'extension').filter((e) => e.extendee.typeName === typeName);
}
