import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { serialize } from 'node:v8';
import type { DescMethodUnary } from '@bufbuild/protobuf';
import { pathOf } from './load.ts';
import type { Program } from './program.ts';
import type { Stage } from './stage.ts';

/** Starts constant-server.ts, which answers calls of the method with these messages, as bytes, in turn. */
export async function startConstantServer(
  { folder, program }: Pick<Stage, 'folder' | 'program'>,
  method: DescMethodUnary,
  answers: readonly Uint8Array[],
): Promise<Program> {
  const file = join(folder, `answers-${randomUUID()}`);
  await writeFile(file, serialize(answers));
  return program('constant-server.ts', [pathOf(method), file]);
}
