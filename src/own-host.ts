/** The host by which a process on the same machine reaches what listens on `host`: another where that stands for all addresses. */
export function ownHost(host: string): string {
  return host === '0.0.0.0' || host === '::' ? 'localhost' : host;
}
