import type { DescMethodUnary } from '@bufbuild/protobuf';
import { alternate, ratioOf } from './alternate.ts';
import type { Figure, Report } from './comparison.ts';
import { startConstantServer } from './constant.ts';
import type { Instance } from './instance.ts';
import type { Calls } from './load.ts';
import { realAnswers } from './real-answers.ts';
import { roundOf, type Side, sideOf } from './side.ts';
import type { Stage } from './stage.ts';

const IN_FLIGHT = 32;
const AIM = { atLeast: 0.6 };

/** Calls of a reading method: the same ones are made again and again. */
export interface Reads<M extends DescMethodUnary = DescMethodUnary> {
  readonly name: string;
  readonly calls: Calls<M>;
}

/** Holds each kind of reads against a bare grpc-js method that answers the bytes of the same answers without any work. */
export async function againstConstant<M extends DescMethodUnary>(
  stage: Stage,
  service: Instance,
  kinds: readonly Reads<M>[],
): Promise<Report> {
  const figures: Figure[] = [];
  const sides: Side[] = [];
  for (const kind of kinds) {
    const [ours, constant] = await rounds(stage, service, kind.calls);
    figures.push({ what: `${kind.name}: calls/s, ours / constant`, value: ratioOf(ours, constant), aim: AIM });
    sides.push(sideOf(kind.name, IN_FLIGHT, ours), sideOf('constant', IN_FLIGHT, constant));
  }
  const requests = kinds[0]?.calls.messages.length ?? 0;
  return {
    figures,
    sides,
    notes: [`${requests} different requests, each of them asked before the rounds`],
  };
}

async function rounds<M extends DescMethodUnary>(stage: Stage, service: Instance, calls: Calls<M>) {
  const [warmUp, count, seconds] = stage.short ? [1_000, 2, 1] : [20_000, 5, 3];
  const constant = await startConstantServer(stage, calls.method, await realAnswers(service.grpcPort, calls));
  const ask = ({ grpcPort }: { grpcPort: number }, messages: Calls<M>['messages'], time?: number) =>
    stage.load.call([grpcPort], { ...calls, messages }, { inFlight: IN_FLIGHT, seconds: time });
  const round = (server: { grpcPort: number; pid: number }, postgres?: number) => () =>
    roundOf(() => ask(server, calls.messages, seconds), { service: [server.pid], postgres, profiles: stage.profiles });

  const all = Array.from(
    { length: warmUp },
    (_, i) => calls.messages[i % calls.messages.length] as (typeof calls.messages)[number],
  );
  for (const server of [service, constant]) await ask(server, all);
  const [ours = [], theirs = []] = await alternate(count, [round(service, stage.postgres), round(constant)]);
  await constant.stop();
  return [ours, theirs] as const;
}
