import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { start } from './container.ts';
import { run } from './run.ts';
import { printed } from './scene.ts';
import { say } from './tell.ts';

/** An npm lock file, as far as it matters. */
interface Lock {
  readonly packages: Readonly<
    Record<string, { readonly version: string; readonly dev?: true; readonly optional?: true }>
  >;
}

interface Bill {
  readonly components: readonly { readonly purl: string }[];
}

/** Nothing is in the image but what the service needs, all of it in the bill of materials, and none of it its user's to change. */
export async function contentsAreRight(image: string): Promise<void> {
  const json = async (path: string) => JSON.parse(await printed(image, ['cat', path]));
  const { packages } = (await json('node_modules/.package-lock.json')) as Lock;
  const { packages: known } = JSON.parse(await readFile('package-lock.json', 'utf8')) as Lock;
  const surplus = Object.keys(packages).filter((path) => !known[path] || known[path].dev || known[path].optional);
  assert.deepEqual(surplus, []);
  const found = Object.entries(packages).map(
    ([path, { version }]) => `${path.split('node_modules/').at(-1)}@${version}`,
  );
  const bill = (await json('sbom.cdx.json')) as Bill;
  const listed = bill.components.map(({ purl }) => decodeURIComponent(purl.replace('pkg:npm/', '')));
  assert.deepEqual(unique(listed), unique(found));
  assert.equal((await start(image, ['sh', '-c', 'command -v npm yarn corepack']).ended).code, 127);
  say(`${unique(found).length} packages, each in its bill of materials, none for development; no package manager`);

  const status = await printed(image, ['cat', '/proc/self/status']);
  for (const line of [/^Uid:\t1000\t1000\t1000\t1000$/m, /^CapBnd:\t0+$/m, /^NoNewPrivs:\t1$/m])
    assert.match(status, line);
  assert.equal(run('podman', ['image', 'inspect', '--format', '{{.User}}', image]).trim(), '1000:1000');
  assert.equal(
    await printed(image, ['find', '/app', '/usr', '-writable', '-not', '-type', 'l'], { writable: true }),
    '',
  );
  say('it runs as user 1000, without a capability, and may change nothing of what it runs');
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)].sort();
}
