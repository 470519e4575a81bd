import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { serialize } from 'node:v8';
import type { Program } from './program.ts';
import type { RecordedBooking } from './recorded-booking.ts';
import type { Stage } from './stage.ts';

/** Starts bare-server.ts on a database with so many doctors, and as many patients. */
export async function startBareServer(
  { folder, program }: Pick<Stage, 'folder' | 'program'>,
  recorded: RecordedBooking,
  { url, doctors }: { readonly url: string; readonly doctors: number },
): Promise<Program> {
  const file = join(folder, 'recorded-booking');
  await writeFile(file, serialize(recorded));
  return program('bare-server.ts', [file, url, `${doctors}`]);
}
