import { once } from 'node:events';
import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import { type Config, readConfig } from '../config.ts';
import { ownHost } from '../own-host.ts';
import { command } from './command.ts';

/** Within which the answer must be there: less than probes wait. */
const ANSWER_MS = 2_000;

/** npm run health: whether the service that runs here with this environment takes calls, as /readyz says. For container engines. */
await command(async () => {
  const response = await ask(readConfig({ serving: false }));
  if (response.statusCode !== 200) throw new Error(`not ready: HTTP status ${response.statusCode}`);
  return 'ready';
});

async function ask(config: Config): Promise<IncomingMessage> {
  const options = {
    host: ownHost(config.host),
    port: config.httpPort,
    path: '/readyz',
    signal: AbortSignal.timeout(ANSWER_MS),
  };
  // The certificate is for the name that clients use, and nothing here is secret.
  const request = config.tls ? https.get({ ...options, rejectUnauthorized: false }) : http.get(options);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return response;
}
