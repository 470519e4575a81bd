import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { Fault } from '../fault.ts';
import { createGate, type Gate } from './gate.ts';

const PATIENT = new AbortController().signal;
const LONG_MS = 10_000;

/** Whether `entering` has been let through by now. */
async function isIn(entering: Promise<unknown>): Promise<boolean> {
  const waits = Symbol();
  return (await Promise.race([entering, sleep(5, waits)])) !== waits;
}

/** How many of `count` more are let through at once; whoever was let through leaves again. */
async function room(gate: Gate, key: string, count: number): Promise<number> {
  const given = new AbortController();
  const entering = Array.from({ length: count }, () => gate.enter(key, given.signal).catch(() => undefined));
  await sleep(5);
  given.abort();
  const entered = (await Promise.all(entering)).filter((leave) => leave !== undefined);
  for (const leave of entered) leave();
  return entered.length;
}

describe('a gate', () => {
  test('lets as many through as its limit says, each key for itself', async () => {
    const gate = createGate(3, LONG_MS, 'CONTENTION');
    expect(await room(gate, 'a', 5)).toBe(3);
    const leave = await gate.enter('a', PATIENT);
    expect(await room(gate, 'a', 5)).toBe(2);
    expect(await room(gate, 'b', 5)).toBe(3);
    leave();
    expect(await room(gate, 'a', 5)).toBe(3);
  });

  test('who waits comes in in the order of arrival, one for each who leaves', async () => {
    const gate = createGate(1, LONG_MS, 'CONTENTION');
    const order: number[] = [];
    const first = await gate.enter('a', PATIENT);
    const others = [1, 2, 3].map((place) =>
      gate.enter('a', PATIENT).then((leave) => {
        order.push(place);
        return leave;
      }),
    );
    await sleep(5);
    expect(order).toEqual([]);
    first();
    (await others[0])?.();
    (await others[1])?.();
    (await others[2])?.();
    expect(order).toEqual([1, 2, 3]);
  });

  test('nobody overtakes those who wait', async () => {
    const gate = createGate(1, LONG_MS, 'CONTENTION');
    const first = await gate.enter('a', PATIENT);
    const waiting = gate.enter('a', PATIENT);
    first();
    const late = gate.enter('a', PATIENT);
    expect(await isIn(late)).toBe(false);
    (await waiting)();
    (await late)();
  });

  test('who waits too long is refused with the reason given, and leaves no gap and no ghost', async () => {
    const gate = createGate(1, 30, 'IN_PROGRESS');
    const leave = await gate.enter('a', PATIENT);
    const refused = await gate.enter('a', PATIENT).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(Fault);
    expect(refused).toMatchObject({ reason: 'IN_PROGRESS' });
    leave();
    expect(await room(gate, 'a', 3)).toBe(1);
  });

  test('who gives up stops waiting at once, with the signal’s reason', async () => {
    const gate = createGate(1, LONG_MS, 'CONTENTION');
    const leave = await gate.enter('a', PATIENT);
    const [gone, stays] = [new AbortController(), new AbortController()];
    const [quitter, next] = [gate.enter('a', gone.signal), gate.enter('a', stays.signal)];
    gone.abort(new Error('gone'));
    await expect(quitter).rejects.toThrow('gone');
    leave();
    (await next)();
    expect(await room(gate, 'a', 3)).toBe(1);
  });

  test('who has given up before is not let in, whether there is room or not', async () => {
    const gate = createGate(1, LONG_MS, 'CONTENTION');
    const gone = AbortSignal.abort(new Error('gone'));
    await expect(gate.enter('a', gone)).rejects.toThrow('gone');
    const leave = await gate.enter('a', PATIENT);
    await expect(gate.enter('a', gone)).rejects.toThrow('gone');
    leave();
    expect(await room(gate, 'a', 3)).toBe(1);
  });

  test('giving up after having come in changes nothing', async () => {
    const gate = createGate(1, LONG_MS, 'CONTENTION');
    const first = await gate.enter('a', PATIENT);
    const controller = new AbortController();
    const entering = gate.enter('a', controller.signal);
    first();
    const leave = await entering;
    controller.abort();
    expect(await room(gate, 'a', 2)).toBe(0);
    leave();
    expect(await room(gate, 'a', 2)).toBe(1);
  });

  test('lets more in while those who leave say that they hold nobody up, until one says otherwise', async () => {
    const gate = createGate({ usual: 1, eased: 3 }, LONG_MS, 'CONTENTION');
    const first = await gate.enter('a', PATIENT);
    const waiting = [1, 2, 3, 4].map(() => gate.enter('a', PATIENT));
    expect(gate.busy('a')).toBe(true);
    first(true);
    expect(await Promise.all(waiting.map(isIn))).toEqual([true, true, true, false]);
    (await waiting[0])?.();
    expect(await Promise.all(waiting.map(isIn))).toEqual([true, true, true, true]);
    (await waiting[1])?.(false);
    const next = gate.enter('a', PATIENT);
    (await waiting[2])?.();
    expect(await isIn(next)).toBe(false);
    (await waiting[3])?.();
    expect(await isIn(next)).toBe(true);
    (await next)(true);
    expect(gate.busy('a')).toBe(false);
    expect(await room(gate, 'a', 3)).toBe(1);
  });

  test('a storm of callers who enter, leave, give up and time out never exceeds the limit, and ends empty', async () => {
    const gate = createGate(4, 20, 'CONTENTION');
    let [inside, most, entered] = [0, 0, 0];
    const visit = async (i: number) => {
      await sleep(Math.random() * 30);
      const signal = i % 3 ? PATIENT : AbortSignal.timeout(1 + (i % 15));
      const leave = await gate.enter(`key ${i % 3}`, signal).catch(() => undefined);
      if (!leave) return;
      entered += 1;
      inside += 1;
      most = Math.max(most, inside);
      await sleep(Math.random() * 5);
      inside -= 1;
      leave();
    };
    await Promise.all(Array.from({ length: 600 }, (_, i) => visit(i)));
    expect(most).toBeLessThanOrEqual(12);
    expect(entered).toBeGreaterThan(50);
    for (const key of ['key 0', 'key 1', 'key 2']) expect(await room(gate, key, 6)).toBe(4);
  });
});
