import { endWhenAsked } from '../first-process.ts';

/** Runs a command of the server: prints what it answers, or why it failed, and exits with 0 or 1. */
export async function command(work: () => Promise<string>): Promise<void> {
  endWhenAsked();
  try {
    process.stdout.write(`${await work()}\n`);
    process.exit(0);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exit(1);
  }
}
