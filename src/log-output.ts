import { writeSync } from 'node:fs';
import { pino } from 'pino';

/** Milliseconds for which a line waits for others: what kill -9 loses at most. */
const WAIT_MS = 100;
/** Characters that don't wait. */
const PIECE = 16 * 1024;
/** Bytes that a pipe takes as one or not at all (PIPE_BUF). */
const WHOLE = 4_096;
/** Characters kept for a reader who has stopped; lines on top of that are dropped. */
const KEPT = 4 * 1024 * 1024;
/** Milliseconds until a slow reader is tried again, which double for one who has stopped, to the most. */
const [AGAIN_MS, AGAIN_MOST_MS] = [1, 64];
/** Milliseconds for which the end of the process waits for a reader. */
const LAST_MS = 1_000;

const WARN = pino.levels.values.warn ?? 0;
const NOTHING = Buffer.alloc(0);

/**
 * Lines to standard output, many in one write: at the latest after 100 ms and when the process exits; from warnings on, at
 * once. A reader who stops holds nobody up: it is waited for with 4 MiB of lines at most, and for a second at the exit. Lines
 * on top of that, and those that can't be written (EPIPE, ENOSPC), are dropped; nothing is thrown.
 */
export class LogOutput {
  readonly [pino.symbols.needsMetadataGsym] = true;
  /** Level of the line that is written next; pino sets it. */
  lastLevel = 0;
  // Node has opened it so that a full pipe refuses what is written. A terminal that is held up does hold up its process.
  readonly #fd = process.stdout.fd;
  readonly #onDropped: (lines: number) => void;
  #waiting = '';
  #going = NOTHING;
  #dropped = 0;
  #againMs = AGAIN_MS;
  #timer: NodeJS.Timeout | undefined;

  /** `onDropped` is told how many lines were dropped, once lines go out again. */
  constructor(onDropped: (lines: number) => void) {
    this.#onDropped = onDropped;
    process.once('exit', () => this.#sendLast());
  }

  write(line: string): void {
    if (this.#waiting.length + line.length > KEPT) this.#dropped += 1;
    else this.#waiting += line;
    if (this.#going.length > 0) return; // until the reader is tried again
    if (this.#waiting.length >= PIECE || this.lastLevel >= WARN) this.#send();
    else this.#timer ??= setTimeout(() => this.#send(), WAIT_MS).unref();
  }

  #send(): void {
    clearTimeout(this.#timer);
    this.#timer = this.#sendNow() ? undefined : setTimeout(() => this.#send(), this.#againMs).unref();
  }

  #sendLast(): void {
    const until = performance.now() + LAST_MS;
    while (!this.#sendNow() && performance.now() < until) pause(this.#againMs);
  }

  /** Returns whether all has been seen to; otherwise the reader has to be tried again. */
  #sendNow(): boolean {
    try {
      while (this.#going.length > 0 || this.#waiting !== '') {
        if (this.#going.length === 0) [this.#going, this.#waiting] = [Buffer.from(this.#waiting), ''];
        this.#going = this.#going.subarray(writeSync(this.#fd, wholeLines(this.#going)));
        this.#againMs = AGAIN_MS;
      }
    } catch (error) {
      this.#againMs = Math.min(2 * this.#againMs, AGAIN_MOST_MS);
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return false;
      this.#dropped += linesIn(this.#going);
      this.#going = NOTHING;
      return true;
    }
    const dropped = this.#dropped;
    this.#dropped = 0;
    if (dropped > 0) this.#onDropped(dropped);
    return true;
  }
}

/** What is written at once: no line of another process that has the same output gets between, unless one is longer than that. */
function wholeLines(bytes: Buffer): Buffer {
  const end = bytes.length > WHOLE ? bytes.lastIndexOf('\n', WHOLE - 1) + 1 : 0;
  return end > 0 ? bytes.subarray(0, end) : bytes;
}

function linesIn(bytes: Buffer): number {
  let lines = 0;
  for (let at = bytes.indexOf('\n'); at !== -1; at = bytes.indexOf('\n', at + 1)) lines += 1;
  return lines;
}

/** Stops the whole process. */
function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
