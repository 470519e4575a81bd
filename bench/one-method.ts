import * as grpc from '@grpc/grpc-js';

/** Answers a call, whose message and answer are bytes. */
export type Answer = (request: Buffer, done: grpc.sendUnaryData<Buffer>) => void;

const asIs = (bytes: Buffer) => bytes;

/**
 * Serves one unary method on grpc-js with nothing around it, on a free port of 127.0.0.1, and says `{"grpcPort":…}` on standard
 * output. Ends with whoever holds its standard input.
 */
export function serveOneMethod(path: string, answer: Answer): void {
  const server = new grpc.Server();
  server.addService(
    {
      method: {
        path,
        requestStream: false,
        responseStream: false,
        requestSerialize: asIs,
        requestDeserialize: asIs,
        responseSerialize: asIs,
        responseDeserialize: asIs,
      },
    },
    {
      method: (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) =>
        answer(call.request, done),
    },
  );
  server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, grpcPort) => {
    if (error) throw error;
    process.stdout.write(`${JSON.stringify({ grpcPort })}\n`);
  });
  process.stdin.resume().once('end', () => process.exit());
}
