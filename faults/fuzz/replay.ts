import { parseArgs } from 'node:util';
import { CALLABLES } from '../../test/support/protocols-broken.ts';
import { createGun, type Shot, type Wire } from './shot.ts';

// Fires one shot that a fuzz run has printed at a server that listens: node faults/fuzz/replay.ts --grpc 50051 --http 8080 '<line>'

interface Line extends Pick<Shot, 'headers' | 'frame'> {
  readonly path: string;
  readonly wire: Wire;
  readonly body: string;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { grpc: { type: 'string', default: '50051' }, http: { type: 'string', default: '8080' } },
});
const { path, wire, headers, frame, body } = JSON.parse(positionals[0] ?? '{}') as Line;
const method = CALLABLES.find((one) => `${one.method.parent.typeName}/${one.method.name}` === path)?.method;
if (!method) throw new Error(`there is no method ${path}`);
const gun = createGun({ grpcPort: Number(values.grpc), httpPort: Number(values.http) });
const shot: Shot = { method, wire, headers, body: Buffer.from(body, 'base64'), ...(frame && { frame }) };
process.stdout.write(`${JSON.stringify(await gun.fire(shot), undefined, 2)}\n`);
gun.close();
