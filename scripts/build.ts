import { execFileSync } from 'node:child_process';
import { globSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

// npm run build: the clients' part of the package, as JavaScript with types, in dist/. Node strips no types in node_modules.

rmSync('dist', { recursive: true, force: true });
execFileSync('node_modules/.bin/tsc', ['-p', 'tsconfig.build.json'], { stdio: 'inherit' });
// tsc rewrites the extensions of imports in JavaScript only; older compilers don't find './x.ts' beside './x.d.ts'.
for (const file of globSync('dist/**/*.d.ts')) {
  const types = readFileSync(file, 'utf8');
  writeFileSync(file, types.replace(/((?:from|import) ?['"]\.[^'"]*)\.ts(['"])/g, '$1.js$2'));
}
