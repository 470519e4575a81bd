import { create, type DescMethodUnary, toBinary } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import { type Calls, pathOf } from './load.ts';

const asIs = (bytes: Buffer) => bytes;

/** Makes each call once at a gRPC port of 127.0.0.1, one after the other; answers the bytes of the messages. Throws on a refusal. */
export async function realAnswers<M extends DescMethodUnary>(
  port: number,
  { method, callers, messages }: Calls<M>,
): Promise<Buffer[]> {
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  const answers: Buffer[] = [];
  try {
    for (const [caller, message] of messages) {
      const request = Buffer.from(toBinary(method.input, create(method.input, message)));
      const metadata = new grpc.Metadata();
      for (const [name, value] of Object.entries(callers[caller] ?? {})) metadata.set(name, value);
      answers.push(
        await new Promise<Buffer>((resolve, reject) => {
          client.makeUnaryRequest(pathOf(method), asIs, asIs, request, metadata, (error, answer) =>
            answer ? resolve(answer) : reject(error),
          );
        }),
      );
    }
    return answers;
  } finally {
    client.close();
  }
}
