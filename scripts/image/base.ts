import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { run } from './run.ts';

/** What the Dockerfile demands of its base beyond Debian's smallest. */
const CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt';

/**
 * The image that the Dockerfile begins with, or, where no registry of images is reached, one that is as good for our purpose:
 * Debian's smallest, with the Node and the npm of this machine and the user `node`. Answers its name.
 */
export function baseImage(wanted: string): { readonly name: string; readonly real: boolean } {
  if (has(wanted) || pulled(wanted)) return { name: wanted, real: true };
  const name = `localhost/stand-in-${wanted.slice(wanted.lastIndexOf('/') + 1)}`;
  if (!has(name)) makeStandIn(name);
  return { name, real: false };
}

function has(image: string): boolean {
  return run('buildah', ['images', '--format', '{{.Name}}:{{.Tag}}']).split('\n').includes(image);
}

function pulled(image: string): boolean {
  try {
    run('buildah', ['pull', '--quiet', image]);
    return true;
  } catch {
    return false;
  }
}

function makeStandIn(name: string): void {
  const folder = mkdtempSync(join(tmpdir(), 'amrutam-base-'));
  const debian = join(folder, 'debian.tar');
  try {
    run('mmdebstrap', ['--quiet', '--variant=minbase', '--include=ca-certificates', 'bookworm', debian]);
    const container = run('buildah', ['from', 'scratch']).trim();
    try {
      fill(container, debian);
      run('buildah', ['commit', '--quiet', container, name]);
    } finally {
      run('buildah', ['rm', container]);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function fill(container: string, debian: string): void {
  const within = (command: string) =>
    run('buildah', ['run', '--isolation', 'chroot', container, '--', 'sh', '-ec', command]);
  const copy = (from: string, to: string) => run('buildah', ['copy', '--quiet', container, from, to]);
  run('buildah', ['add', '--quiet', container, debian, '/']);
  copy(resolve('node_modules/node/bin/node'), '/usr/local/bin/node');
  copy(npmFolder(), '/usr/local/lib/node_modules/npm');
  // What this machine trusts beside Debian's own, such as a proxy between it and the registry of packages.
  if (existsSync(CERTIFICATES)) copy(CERTIFICATES, CERTIFICATES);
  within('ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm');
  within('chmod +x /usr/local/bin/node /usr/local/lib/node_modules/npm/bin/npm-cli.js');
  within('groupadd --gid 1000 node && useradd --uid 1000 --gid node --create-home node');
  const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
  run('buildah', [
    'config',
    '--env',
    `PATH=${path}`,
    '--env',
    `NODE_EXTRA_CA_CERTS=${CERTIFICATES}`,
    '--cmd',
    'node',
    container,
  ]);
}

/** The npm that runs this script. */
function npmFolder(): string {
  const cli = process.env.npm_execpath;
  if (!cli) throw new Error('run this by npm: npm run check-image');
  return dirname(dirname(cli));
}
