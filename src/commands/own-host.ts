import type { Config } from '../config.ts';

/** The host by which a process on the same machine reaches a service that listens as configured. */
export function ownHost({ host }: Config): string {
  return host === '0.0.0.0' || host === '::' ? 'localhost' : host;
}
