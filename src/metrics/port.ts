import http from 'node:http';
import type { Logger } from '../log.ts';
import { bind } from '../rpc/listener.ts';
import { ConfigError } from '../variables.ts';
import type { Snapshot } from './metrics.ts';
import { CONTENT_TYPE, textOf } from './summed.ts';

/** Where Prometheus asks. */
export interface MetricsPort {
  readonly port: number;
  /** From now on asking gives what `collect` collects. */
  show(collect: () => Promise<readonly Snapshot[]>): void;
  close(): void;
}

/** Nobody but Prometheus and a curious operator asks. */
const LIMITS = {
  maxHeaderSize: 8_192,
  headersTimeout: 5_000,
  requestTimeout: 5_000,
  connectionsCheckingInterval: 2_000,
};
const [CONNECTIONS, IDLE_MS, SILENT_MS] = [64, 60_000, 10_000];
const PATH = '/metrics';

/** Opens the port; until there is something to show it says 503. Throws ConfigError when it can't. */
export async function openMetricsPort(
  { metricsHost: host, metricsPort: port }: { readonly metricsHost: string; readonly metricsPort: number },
  log: Logger,
): Promise<MetricsPort> {
  let collect: (() => Promise<readonly Snapshot[]>) | undefined;
  let collecting: Promise<string> | undefined;
  /** Once for all who ask meanwhile. */
  const text = (from: () => Promise<readonly Snapshot[]>) => {
    collecting ??= from()
      .then(textOf)
      .finally(() => {
        collecting = undefined;
      });
    return collecting;
  };
  const server = http.createServer({ ...LIMITS, keepAliveTimeout: IDLE_MS }, async (req, res) => {
    const answer = (status: number, body: string, headers: http.OutgoingHttpHeaders = {}) => {
      const length = Buffer.byteLength(body);
      res.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'content-length': length, ...headers });
      res.end(req.method === 'HEAD' ? undefined : body);
      req.resume(); // a body that nobody asked for
    };
    if (req.url?.split('?')[0] !== PATH) return answer(404, `metrics are at ${PATH}\n`);
    if (req.method !== 'GET' && req.method !== 'HEAD') return answer(405, 'GET it\n', { allow: 'GET, HEAD' });
    if (!collect) return answer(503, 'the service is starting\n');
    try {
      answer(200, await text(collect), { 'content-type': CONTENT_TYPE });
    } catch (err) {
      log.error({ err }, 'the metrics could not be collected');
      answer(500, 'the metrics could not be collected\n');
    }
  });
  server.maxConnections = CONNECTIONS;
  server.setTimeout(SILENT_MS); // of one that is kept alive Node counts IDLE_MS
  server.on('clientError', (_error, socket) => socket.destroy());
  const got = await bind(server, host, port, log).catch((error: NodeJS.ErrnoException) => {
    const why = error.code === 'EADDRINUSE' ? 'another process uses it already' : error.message;
    const name = 'METRICS_PORT';
    throw new ConfigError(
      `${name}: can't listen on ${host}:${port}: ${why}. Choose another with ${name}=…, or METRICS_HOST`,
    );
  });
  server.unref();
  return {
    port: got,
    show: (from) => {
      collect = from;
    },
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
