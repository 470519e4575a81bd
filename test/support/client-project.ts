import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';

export const PACKAGE = 'amrutam-telemedicine-backend';

/** What the package is made of, beside what README and LICENSE bring by themselves. */
const SOURCES = [
  'package.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'client',
  'gen',
  'proto',
  'third_party',
  'docs',
];

const exec = promisify(execFile);

/** A project outside the repository that has the package from its tarball. */
export interface ClientProject {
  readonly folder: string;
  /** The installed package. */
  readonly installed: string;
  write(file: string, text: string): Promise<void>;
  /** Runs a command in the project and answers what it printed; rejects, with that, unless it ends with 0. */
  run(command: string, args: readonly string[], env?: NodeJS.ProcessEnv): Promise<string>;
  remove(): Promise<void>;
}

/** `links` are packages that the project has from the repository's node_modules: no network is needed. */
export async function clientProject(links: readonly string[]): Promise<ClientProject> {
  const folder = await mkdtemp(join(tmpdir(), 'amrutam-client-'));
  const modules = join(folder, 'node_modules');
  const installed = join(modules, PACKAGE);
  const project: ClientProject = {
    folder,
    installed,
    write: (file, text) => writeFile(join(folder, file), text),
    run: (command, args, env = {}) => output(command, args, { cwd: folder, env: { ...process.env, ...env } }),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
  await mkdir(installed, { recursive: true });
  await project.run('tar', ['-xzf', await pack(folder), '--strip-components=1', '-C', installed]);
  for (const link of [...links, '.bin']) {
    await mkdir(dirname(join(modules, link)), { recursive: true });
    await symlink(resolve('node_modules', link), join(modules, link));
  }
  await project.write('package.json', JSON.stringify({ name: 'a-client', private: true, type: 'module' }));
  return project;
}

/** Makes the tarball from a copy: packing builds, and several may do so at once. */
async function pack(folder: string): Promise<string> {
  const copy = join(folder, 'package');
  for (const source of SOURCES) await cp(source, join(copy, source), { recursive: true });
  await cp('scripts/build.ts', join(copy, 'scripts/build.ts'));
  await symlink(resolve('node_modules'), join(copy, 'node_modules'));
  await output('npm', ['pack', '--offline', '--pack-destination', folder], { cwd: copy, env: process.env });
  await rm(copy, { recursive: true });
  const tarball = (await readdir(folder)).find((file) => file.endsWith('.tgz'));
  return join(folder, tarball ?? 'no tarball');
}

async function output(command: string, args: readonly string[], options: { cwd: string; env: NodeJS.ProcessEnv }) {
  const { NODE_OPTIONS: _, ...env } = options.env;
  try {
    const { stdout } = await exec(command, [...args], { cwd: options.cwd, env, maxBuffer: 16 * 1024 * 1024 });
    return stdout;
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    throw new Error(`${command} ${args.join(' ')}\n${stdout}\n${stderr}`, { cause: error });
  }
}
