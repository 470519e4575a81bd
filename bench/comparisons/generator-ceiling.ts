import { BookingService } from '../../gen/amrutam/booking/v1/booking_pb.ts';
import { alternate, ratioOf } from '../alternate.ts';
import { idOf } from '../clinic.ts';
import type { Comparison } from '../comparison.ts';
import { startConstantServer } from '../constant.ts';
import { roundOf, sideOf } from '../side.ts';

const IN_FLIGHT = 32;
/** Bytes of a BookSlot answer. */
const ANSWER = 240;

/** Whether the load generator could ask for more than anything here answers. */
export const generatorCeiling: Comparison = {
  name: 'generator-ceiling',
  what: 'the load generator against frames made before',
  against: 'the fastest that is measured here: a constant of 240 bytes on grpc-js',
  aim: 'ratio >= 2',
  async run(stage) {
    const [warmUp, rounds, seconds] = stage.short ? [1, 2, 1] : [5, 5, 3];
    const method = BookingService.method.bookSlot;
    const canned = await stage.program('canned-server.ts', [`${ANSWER}`]);
    const constant = await startConstantServer(stage, method, [new Uint8Array(ANSWER)]);
    const request = { requestId: idOf('request', 1), slotId: idOf('slot', 1), reasonForVisit: 'a cough' };
    const calls = { method, callers: [{}], messages: [[0, request] as const] };
    const ask = (port: number, time: number) => stage.load.call([port], calls, { inFlight: IN_FLIGHT, seconds: time });
    const round =
      ({ grpcPort, pid }: typeof canned) =>
      () =>
        roundOf(() => ask(grpcPort, seconds), { service: [pid] });

    for (const { grpcPort } of [canned, constant]) await ask(grpcPort, warmUp);
    const [most = [], fastest = []] = await alternate(rounds, [round(canned), round(constant)]);
    return {
      figures: [
        { what: 'calls/s, canned frames / constant on grpc-js', value: ratioOf(most, fastest), aim: { atLeast: 2 } },
      ],
      sides: [sideOf('canned frames', IN_FLIGHT, most), sideOf('constant on grpc-js', IN_FLIGHT, fastest)],
    };
  },
};
