import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import type { Config } from './config.ts';
import type { TlsPair } from './rpc/listener.ts';
import { ConfigError } from './variables.ts';

/** The certificate and its key that the configuration names; undefined when it names none. Throws ConfigError. */
export async function readTls({ tls }: Config): Promise<TlsPair | undefined> {
  if (!tls) return undefined;
  const { certFile, keyFile } = tls;
  const read = (name: string, file: string) =>
    readFile(file).catch((error: Error) => {
      throw new ConfigError(`${name}: ${file} can't be read: ${error.message}`);
    });
  const pair = { cert: await read('TLS_CERT_FILE', certFile), key: await read('TLS_KEY_FILE', keyFile) };
  try {
    createSecureContext(pair);
  } catch (error) {
    const why = (error as Error).message;
    throw new ConfigError(
      `TLS_CERT_FILE, TLS_KEY_FILE: ${certFile} and ${keyFile} must be a certificate and its key, both PEM: ${why}`,
    );
  }
  return pair;
}
