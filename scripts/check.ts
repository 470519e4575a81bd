import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

// npm run check: everything that can be said about the sources without running them.

const scratch = mkdtempSync(join(tmpdir(), 'amrutam-check-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

step('the contract is well formed', 'buf', ['lint']);
step('the contract is formatted', 'buf', ['format', 'proto', '--diff', '--exit-code']);
unbroken();
step('the generated code can be made', 'buf', ['generate', '--output', scratch]);
step('gen/ is what the contract generates (else: npm run generate)', 'diff', ['-r', join(scratch, 'gen'), 'gen']);
step('types', 'tsc', ['--noEmit']);
step('lint, dependency rule, format (else: npm run format)', 'biome', ['check', '--error-on-warnings', '.']);

/** Compares the contract with the last one on main. buf can't read it from git by itself: a part of it lies in node_modules. */
function unbroken(): void {
  const [base] = ['origin/main', 'main', 'HEAD'].filter(
    (ref) => run('git', ['rev-parse', '--verify', '--quiet', `${ref}:buf.yaml`]).status === 0,
  );
  if (!base) {
    console.log('- no earlier contract to compare with');
    return;
  }
  const before = join(scratch, 'before');
  run('sh', ['-c', 'mkdir "$1" && git archive "$0" buf.yaml proto third_party | tar -x -C "$1"', base, before]);
  symlinkSync(resolve('node_modules'), join(before, 'node_modules'));
  step(`the contract breaks no client of ${base}`, 'buf', ['breaking', '--against', before]);
}

function step(what: string, command: string, args: readonly string[]): void {
  const started = performance.now();
  const { status, stdout, stderr } = run(command, args);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${status === 0 ? '✓' : '✗'} ${what} (${seconds} s)`);
  if (status === 0) return;
  console.log(`${stdout}${stderr}`);
  process.exit(1);
}

function run(command: string, args: readonly string[]) {
  return spawnSync(command, args, { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
}
