import { flushCompileCache } from 'node:module';
import { keepCompiled } from './compile-cache.ts';

// Imports at the top are loaded before anything runs; what is to come from the cache must be loaded later.
keepCompiled();
await import('./start.ts');
flushCompileCache();
