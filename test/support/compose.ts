import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';

/** docker-compose.yml, as far as it matters. */
export interface Composed {
  readonly services: Readonly<Record<string, ComposedService>>;
  readonly networks: Readonly<Record<string, { readonly internal?: boolean } | null>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

export interface ComposedService {
  readonly image: string;
  readonly build?: string | { readonly context: string; readonly args: Readonly<Record<string, string>> };
  readonly user?: string;
  readonly cap_add?: readonly string[];
  readonly command?: readonly string[];
  readonly entrypoint?: readonly string[];
  readonly environment?: Readonly<Record<string, string | null>>;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: { readonly test?: readonly string[]; readonly disable?: boolean };
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly networks?: readonly string[] | Readonly<Record<string, unknown>>;
  readonly [setting: string]: unknown;
}

/** docker-compose.yml, or another such file, as Compose understands it where no variable is set but those `given`. */
export async function readCompose(
  file = 'docker-compose.yml',
  given: Readonly<Record<string, string>> = {},
): Promise<Composed> {
  const text = await readFile(file, 'utf8');
  const defaulted = text
    .replaceAll(/\$\{([A-Z_]+):[-?]([^}]*)\}/g, (_, name: string, otherwise: string) => given[name] ?? otherwise)
    .replaceAll('$$', '$');
  return parse(defaulted, { merge: true }) as Composed;
}
