import type { Config } from './config.ts';
import { ownHost } from './own-host.ts';

interface Ports {
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly metricsPort: number;
}

/** What a first start shows: where it is, who may sign in, and three commands to paste. */
export function banner(config: Config, { grpcPort, httpPort, metricsPort }: Ports): string {
  const host = ownHost(config.host);
  const scheme = config.tls ? 'https' : 'http';
  const logIn = `'{"email":"patient@demo.test","password":"${config.demoPassword}"}'`;
  const plain = config.tls ? '' : '-plaintext ';
  const h2 = config.tls ? '' : '--protocol grpc --http2-prior-knowledge ';
  return `
  Amrutam Telemedicine Backend is serving.

    gRPC                      ${host}:${grpcPort}
    Connect, gRPC-Web, JSON   ${scheme}://${host}:${httpPort}
    metrics, for Prometheus   http://${ownHost(config.metricsHost)}:${metricsPort}/metrics
    data                      ${config.dataDir}
    mails                     ${config.mail?.smtp ? config.mail.smtp.host : 'none is sent: they are lines of this log'}

  The demonstration clinic's accounts, all with the password ${config.demoPassword}:
    patient@demo.test   doctor@demo.test   admin@demo.test

  Try it, in another terminal:

    curl ${scheme}://${host}:${httpPort}/amrutam.auth.v1.AuthService/LogIn -H 'content-type: application/json' -d ${logIn}

    npx buf curl --reflect ${h2}${scheme}://${host}:${grpcPort}/amrutam.availability.v1.AvailabilityService/SearchDoctors -d '{"query":"ananya"}'

    grpcurl ${plain}${host}:${grpcPort} list

  or watch the whole story, the race for one slot included:

    npm run demo

`;
}
