import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';

// npm run build: the clients' part of the package, as JavaScript with types, in dist/. Node strips no types in node_modules.

rmSync('dist', { recursive: true, force: true });
execFileSync('node_modules/.bin/tsc', ['-p', 'tsconfig.build.json'], { stdio: 'inherit' });
