import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { create, type DescMethodUnary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import type { Command, Measured } from './generator-protocol.ts';

/** Who calls, and what. */
export interface Calls<M extends DescMethodUnary = DescMethodUnary> {
  readonly method: M;
  /** Request headers of each caller. */
  readonly callers: readonly Readonly<Record<string, string>>[];
  /** Each call's caller, by place, and its message. */
  readonly messages: readonly (readonly [caller: number, message: MessageInitShape<M['input']>])[];
}

/** `/package.Service/Method`. */
export function pathOf({ parent, name }: DescMethodUnary): string {
  return `/${parent.typeName}/${name}`;
}

/** How many at once, over how many connections, and for how long; without `seconds` each call is made once. */
export interface Pace {
  readonly inFlight: number;
  readonly connections?: number;
  readonly seconds?: number | undefined;
}

/** A process that makes calls to gRPC ports of 127.0.0.1. */
export interface Load {
  /** Spreads the calls over the ports evenly. One at a time: who asks while another is under way comes after it. */
  call<M extends DescMethodUnary>(ports: readonly number[], calls: Calls<M>, pace: Pace): Promise<Measured>;
  close(): void;
}

const CONNECTIONS = 8;

/** Starts the process. */
export function startLoad(): Load {
  const child = fork(join(import.meta.dirname, 'generator.ts'), { serialization: 'advanced' });
  let last: Promise<unknown> = Promise.resolve();
  async function ask(command: Command): Promise<Measured> {
    const answer = answerOf(child);
    child.send(command);
    const measured = await answer;
    if ('failure' in measured) throw new Error(`the load generator: ${measured.failure}`);
    return measured;
  }
  return {
    call(ports, { method, callers, messages }, { inFlight, connections = CONNECTIONS, seconds }) {
      const calls = messages.map(([caller, message]) => ({
        caller,
        bytes: toBinary(method.input, create(method.input, message)),
      }));
      const asked = last.then(() =>
        ask({ ports, path: pathOf(method), connections, inFlight, callers, calls, seconds }),
      );
      last = asked.catch(() => {});
      return asked;
    },
    close: () => void child.kill(),
  };
}

/** The next message of a process that answers each of ours. Rejects when it ends without. */
function answerOf(child: ChildProcess): Promise<Measured | { readonly failure: string }> {
  return new Promise((resolve, reject) => {
    const onExit = () => reject(new Error('the load generator has ended'));
    child.once('exit', onExit);
    child.once('message', (message) => {
      child.off('exit', onExit);
      resolve(message as Measured);
    });
  });
}
