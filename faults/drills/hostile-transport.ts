import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CERTIFICATE } from '../../src/rpc/tls.fixture.ts';
import type { Service } from '../../test/support/process-service.ts';
import { ATTACKS, attack } from '../abuse/attacks.ts';
import { openLine } from '../abuse/line.ts';
import { besiege, ENEMY, mustLive, type Siege } from '../abuse/siege.ts';
import { vitalsOf } from '../abuse/vitals.ts';
import type { Drill } from '../drill.ts';

const HANDSHAKES = 200;

export const hostileTransport: Drill = {
  name: 'hostile-transport',
  story: 'floods and forgeries of HTTP/1, HTTP/2 and gRPC on both ports, plain and in TLS, while honest clients call',
  breaks: [
    {
      file: 'src/rpc/http-listener.ts',
      from: "options.turnAway('malformed request');",
      to: "setTimeout(() => { throw new Error('nobody caught this'); });",
      means: 'what connect throws at an address that is none ends the process',
    },
    {
      file: 'src/rpc/http-headers.ts',
      from: 'res.statusCode = status;',
      to: 'res.statusCode = 500;',
      means: 'malformed requests are answered as faults of ours',
    },
  ],
  run: (stage) =>
    besiege(stage, async (siege) => {
      const notes = await allAttacks(siege, siege.service, false);
      return [notes, await inTls(siege)];
    }),
};

async function allAttacks({ stage }: Siege, service: Service, inTls: boolean): Promise<string> {
  for (const one of ATTACKS) {
    const port = one.port === 'grpc' ? service.grpcPort : service.httpPort;
    const alpn = one.port === 'grpc' ? 'h2' : 'http/1.1';
    const [startedAt, before] = [performance.now(), vitalsOf(service.pid).rssMb];
    await attack(one, { port, ...(inTls ? { alpn } : { from: ENEMY }) });
    const { rssMb } = vitalsOf(service.pid);
    const seconds = (performance.now() - startedAt) / 1000;
    if (rssMb > before + 20 || seconds > 2) stage.say(`${one.name}: ${seconds.toFixed(1)} s, ${before} -> ${rssMb} MB`);
    mustLive(service);
  }
  stage.say(`${ATTACKS.length} attacks${inTls ? ' in TLS' : ''}, and it lives`);
  return `${ATTACKS.length} attacks${inTls ? ' in TLS' : ''}`;
}

/** The same against an instance with a certificate, where the HTTP port speaks HTTP/2 as well. */
async function inTls(siege: Siege): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'amrutam-tls-'));
  const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  await writeFile(certFile, CERTIFICATE.cert);
  await writeFile(keyFile, CERTIFICATE.key);
  try {
    const service = await siege.clinic.start({ TLS_CERT_FILE: certFile, TLS_KEY_FILE: keyFile });
    const notes = await allAttacks(siege, service, true);
    await handshakes(service);
    for (const one of ATTACKS.filter(({ port }) => port === 'grpc')) {
      await attack(one, { port: service.httpPort, alpn: 'h2' });
      mustLive(service);
    }
    return `${notes}, at most ${vitalsOf(service.pid).peakMb} MB`;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Half of one, or rubbish in its place; those who wait are hung up on. */
async function handshakes({ grpcPort, httpPort }: Service): Promise<void> {
  const hello = Buffer.from('16030100c8010000c40303', 'hex');
  const lines = await Promise.all(
    Array.from({ length: HANDSHAKES }, (_, i) => openLine({ port: i % 2 ? grpcPort : httpPort })),
  );
  for (const [i, line] of lines.entries()) await line.say(i % 4 < 2 ? hello : Buffer.alloc(500, i));
  const closed = await Promise.all(lines.map((line) => line.closedWithin(20_000)));
  for (const line of lines) line.hangUp();
  const left = closed.filter((one) => !one).length;
  if (left > 0) throw new Error(`${left} handshakes that never end are still waited for`);
}
