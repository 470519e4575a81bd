import { readFileSync } from 'node:fs';
import { deserialize } from 'node:v8';
import * as grpc from '@grpc/grpc-js';

// What a call costs on grpc-js when nothing is done: answers each call of one method with bytes made before, several in turn.
// Arguments: the method's path, and a file with the answers (v8.serialize). A process of its own; says `{"grpcPort":…}`.

const [path = '', file = ''] = process.argv.slice(2);
const answers = (deserialize(readFileSync(file)) as Uint8Array[]).map((answer) => Buffer.from(answer));
let next = 0;

const asIs = (bytes: Buffer) => bytes;
const server = new grpc.Server();
server.addService(
  {
    constant: {
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
    constant: (_: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => {
      done(null, answers[next++ % answers.length]);
    },
  },
);
server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, grpcPort) => {
  if (error) throw error;
  process.stdout.write(`${JSON.stringify({ grpcPort })}\n`);
});
process.stdin.resume().once('end', () => process.exit());
