import { expect, test } from '@jest/globals';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { succession, textOf } from './summed.ts';

/** A process that has counted `calls`, one second each, and holds `open`. */
async function counted(calls: number, open: number) {
  const registers = [new Registry()];
  const total = new Counter({ name: 'calls_total', help: 'x', labelNames: ['code'], registers });
  const seconds = new Histogram({ name: 'seconds', help: 'x', buckets: [0.5, 2], registers });
  for (let i = 0; i < calls; i++) {
    total.inc({ code: 'OK' });
    seconds.observe(1);
  }
  new Gauge({ name: 'open', help: 'x', registers }).set(open);
  new Gauge({ name: 'ready', help: 'x', aggregator: 'min', registers }).set(open > 0 ? 1 : 0);
  return (registers[0] as Registry).getMetricsAsJSON();
}

async function values(text: Promise<string>) {
  const lines = (await text).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]),
  );
}

test('what processes have counted is added up; ready are they when all are', async () => {
  const sum = await values(textOf([await counted(3, 2), await counted(4, 0)]));
  expect(sum).toEqual({
    'calls_total{code="OK"}': 7,
    'seconds_bucket{le="0.5"}': 0,
    'seconds_bucket{le="2"}': 7,
    'seconds_bucket{le="+Inf"}': 7,
    seconds_sum: 7,
    seconds_count: 7,
    open: 2,
    ready: 0,
  });
});

test('what a process has counted outlives it, and what it held does not', async () => {
  const place = succession();
  for (const calls of [5, 2]) {
    place.now(await counted(1, 1));
    place.now(await counted(calls, 3));
    await place.ended();
  }
  expect(await values(textOf(place.all()))).toMatchObject({ 'calls_total{code="OK"}': 7, seconds_count: 7 });
  expect(await values(textOf(place.all()))).not.toHaveProperty('open');
  place.now(await counted(1, 4));
  expect(await values(textOf(place.all()))).toMatchObject({
    'calls_total{code="OK"}': 8,
    'seconds_bucket{le="+Inf"}': 8,
    open: 4,
    ready: 1,
  });
});

test('while one is being added to those before it, none is missing', async () => {
  const place = succession();
  place.now(await counted(5, 1));
  const ending = place.ended();
  expect(await values(textOf(place.all()))).toMatchObject({ 'calls_total{code="OK"}': 5 });
  await ending;
  expect(await values(textOf(place.all()))).toMatchObject({ 'calls_total{code="OK"}': 5 });
});
