import { readFileSync } from 'node:fs';
import { deserialize } from 'node:v8';
import { serveOneMethod } from './one-method.ts';

// What a call costs on grpc-js when nothing is done: answers each call of one method with bytes made before, several in turn.
// Arguments: the method's path, and a file with the answers (v8.serialize). A process of its own; says `{"grpcPort":…}`.

const [path = '', file = ''] = process.argv.slice(2);
const answers = (deserialize(readFileSync(file)) as Uint8Array[]).map((answer) => Buffer.from(answer));
let next = 0;

serveOneMethod(path, (_, done) => done(null, answers[next++ % answers.length]));
