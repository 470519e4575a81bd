import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { baseImage } from './image/base.ts';
import { whyNoContainer } from './image/container.ts';
import { contentsAreRight } from './image/contents.ts';
import { run } from './image/run.ts';
import { inScene } from './image/scene.ts';
import { booksAndDrains, endsWhileItStarts, processesEndTogether } from './image/service.ts';
import { commandsWork, refusesToStart } from './image/setup.ts';
import { say } from './image/tell.ts';

// npm run check-image: builds the image and runs it as it is meant to run, by nobody in particular and on a file system that can't
// be written to, with a real PostgreSQL and a real Redis. Needs root and TOOLS; mmdebstrap only where no image can be pulled.

const IMAGE = 'localhost/amrutam';
const TOOLS = ['buildah', 'podman', 'runc', 'mmdebstrap', 'psql', 'redis-server'];

const missing = TOOLS.filter((tool) => spawnSync(tool, ['--version']).error);
if (missing.length) skip(`there is no ${missing.join(', ')} here`);
if (process.getuid?.() !== 0) skip('this is not root');
const base = baseOf(/^FROM (\S+)/m.exec(await readFile('Dockerfile', 'utf8'))?.[1] ?? '');
const refusal = whyNoContainer(base.name);
if (refusal !== undefined) skip(`podman can start no container here: ${refusal}`);

build();
await contentsAreRight(IMAGE);
await inScene(IMAGE, async (scene) => {
  for (const check of [refusesToStart, commandsWork, booksAndDrains, processesEndTogether, endsWhileItStarts])
    await check(scene);
});

/** What this machine can't pull and can't make says nothing of our image. */
function baseOf(wanted: string): ReturnType<typeof baseImage> {
  try {
    return baseImage(wanted);
  } catch (error) {
    return skip(`its base can't be had here: ${(error as Error).message}`);
  }
}

function skip(why: string): never {
  console.log(`NOT RUN: the check of the image, because ${why}.`);
  process.exit(0);
}

function build(): void {
  const startedAt = performance.now();
  const options = ['--isolation', 'chroot', '--pull-never', '--format', 'docker', '--layers', '--from', base.name];
  run('buildah', ['bud', ...options, '--tag', IMAGE, '.']);
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(0);
  say(`built in ${seconds} s on ${base.name}${base.real ? '' : ', made here because no image can be pulled'}`);
  const [all, below] = [IMAGE, base.name].map(sizeOf) as [number, number];
  say(`${mebibytes(all)}, ${mebibytes(all - below)} of them not its base's`);
}

/** Bytes. */
function sizeOf(name: string): number {
  return Number(run('podman', ['image', 'inspect', '--format', '{{.Size}}', name]));
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}
