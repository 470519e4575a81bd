import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';

/** An object for Kubernetes, as far as every kind has it. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

const exec = promisify(execFile);

/** Where kinds of resources are described that are not Kubernetes' own. */
const PACKAGES: Readonly<Record<string, string>> = {
  'postgresql.cnpg.io': '@kubernetes-models/cloudnative-pg',
  'monitoring.coreos.com': '@kubernetes-models/prometheus-operator',
  'gateway.networking.k8s.io': '@kubernetes-models/gateway-api',
};
/** Of the backup plugin's own kind there is no description to be had. */
const UNDESCRIBED = ['barmancloud.cnpg.io/v1'];

/** The minor version of the first whose kustomize reads what everybody writes today. */
const OLDEST_KUBECTL = 21;

/** Every manifest in the folders of `root`. */
export async function manifestsIn(root: string): Promise<Manifest[]> {
  const files = (await readdir(root, { recursive: true })).filter((file) => /\.yaml$/.test(file));
  const texts = await Promise.all(files.map((file) => readFile(join(root, file), 'utf8')));
  return texts.flatMap(documents).filter(({ kind }) => kind !== 'Kustomization');
}

/** What kustomize makes of a folder; undefined where there is no kubectl that knows how. */
export async function built(folder: string): Promise<Manifest[] | undefined> {
  const { stdout: version } = spawnSync('kubectl', ['version', '--client'], { encoding: 'utf8' });
  if (Number(/v1\.(\d+)\./.exec(version ?? '')?.[1] ?? 0) < OLDEST_KUBECTL) return undefined;
  return documents((await exec('kubectl', ['kustomize', folder], { maxBuffer: 2 ** 24 })).stdout);
}

function documents(text: string): Manifest[] {
  return parseAllDocuments(text).map((document) => {
    if (document.errors.length) throw document.errors[0];
    return document.toJS() as Manifest;
  });
}

/**
 * What is wrong with `manifests` by the descriptions of their kinds, in the words of two judges: a schema, which knows patterns and what
 * is required, and the compiler, which knows of every name whether it exists.
 */
export async function faultsOf(manifests: readonly Manifest[]): Promise<string[]> {
  const described = manifests.filter(({ apiVersion }) => !UNDESCRIBED.includes(apiVersion));
  const bySchema = await Promise.all(described.map(schemaFault));
  return [...bySchema.filter((fault) => fault !== undefined), ...(await misnamed(described))];
}

function moduleOf({ apiVersion, kind }: Manifest): string {
  const [group = ''] = apiVersion.split('/');
  return `${PACKAGES[group] ?? 'kubernetes-models'}/${apiVersion}/${kind}`;
}

async function schemaFault(manifest: Manifest): Promise<string | undefined> {
  const { [manifest.kind]: Model } = (await import(moduleOf(manifest))) as Record<
    string,
    new (
      data: object,
    ) => { validate(): void }
  >;
  try {
    if (!Model) throw new Error('there is no such kind');
    new Model(manifest).validate();
    return undefined;
  } catch (error) {
    return `${manifest.kind} ${manifest.metadata.name}: ${(error as Error).message}`;
  }
}

async function misnamed(manifests: readonly Manifest[]): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'amrutam-manifests-'));
  try {
    const typed = manifests.map(
      (one, i) =>
        `import type { I${one.kind} as T${i} } from '${moduleOf(one)}';\nexport const m${i}: T${i} = ${JSON.stringify(one)};\n`,
    );
    await writeFile(join(folder, 'manifests.ts'), typed.join(''));
    await writeFile(join(folder, 'package.json'), '{"type":"module"}');
    await symlink(resolve('node_modules'), join(folder, 'node_modules'));
    const options = [
      '--noEmit',
      '--strict',
      '--skipLibCheck',
      '--module',
      'nodenext',
      '--target',
      'es2024',
      '--types',
      '',
    ];
    const { stdout } = await exec(resolve('node_modules/.bin/tsc'), [...options, 'manifests.ts'], {
      cwd: folder,
    }).catch((error: { stdout: string }) => error);
    return stdout.split('\n').filter((line) => line.includes('error TS'));
  } finally {
    await rm(folder, { recursive: true });
  }
}
