import { describe, expect, test } from '@jest/globals';
import { alternate, ratioOf } from './alternate.ts';
import { markdown, partsMarkdown, withFigures, withParts } from './markdown.ts';
import { merged, type Outcome, type Results } from './outcome.ts';
import { picture } from './picture.ts';
import { partsOf } from './profile-parts.ts';
import { median, quantile } from './quantile.ts';
import { type Round, sideOf } from './side.ts';
import { figuresTable, partsTables, sidesTable } from './table.ts';

const round = (perSecond: number): Round => ({ calls: 100, perSecond, p50: 1, p95: 2, p99: 3, cpu: { service: 500 } });
const what = { what: 'BookSlot & more', against: 'something', aim: 'ratio >= 0.5', at: '2026-01-02T03:04:05Z' };
const reached: Outcome = {
  ...what,
  name: 'reached',
  short: false,
  seconds: 9,
  report: {
    figures: [
      { what: 'ours <b> theirs', value: 0.61, aim: { atLeast: 0.5 } },
      { what: 'start', value: 1800, unit: 'ms', aim: { atMost: 1500 } },
      { what: 'only told', value: 7, unit: 'MB' },
    ],
    sides: [sideOf('ours', 32, [round(900), round(1100), round(1000)])],
    notes: ['noted'],
  },
};
const failed: Outcome = {
  ...what,
  name: 'failed',
  short: true,
  seconds: 1,
  failure: '3 of 9 calls were refused\nstack',
};
const lacking: Outcome = {
  ...what,
  name: 'lacking',
  short: false,
  seconds: 0,
  report: { figures: [], notRun: 'pgbench' },
};
const machine = {
  cpu: 'A CPU',
  cores: 2,
  memoryGb: 8,
  os: 'linux',
  node: 'v24.0.0',
  postgres: '18.0',
  settings: { fsync: 'on' },
};
const results: Results = { machine, outcomes: [reached, failed, lacking] };

test('medians and quantiles', () => {
  expect([median([3, 1, 2]), median([4, 1, 2, 3]), median([5])]).toEqual([2, 2.5, 5]);
  const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
  expect([quantile(hundred, 0.5), quantile(hundred, 0.95), quantile(hundred, 1), quantile([], 0.5)]).toEqual([
    50,
    95,
    100,
    Number.NaN,
  ]);
});

test('a profile is divided by whose code ran', () => {
  const frames = [
    ['(idle)', ''],
    ['(garbage collector)', ''],
    ['writev', ''],
    ['onread', 'node:internal/stream_base_commons'],
    ['parse', 'file:///app/node_modules/pg-protocol/dist/parser.js'],
    ['create', 'file:///app/node_modules/x/node_modules/@bufbuild/protobuf/dist/create.js'],
    ['call', 'file:///app/node_modules/@grpc/grpc-js/build/src/server.js'],
    ['bookSlot', 'file:///app/src/booking/book-slot.ts'],
    ['orAbort', 'file:///app/src/or-abort.ts'],
  ] as const;
  const nodes = frames.map(([functionName, url], id) => ({ id, callFrame: { functionName, url } }));
  const samples = nodes.map(({ id }) => id);
  const shares = partsOf({ nodes, samples, timeDeltas: [9_000, 100, 100, 300, 100, 100, 100, 100, 100] });
  expect(shares).toEqual({
    'garbage collection': 0.1,
    'native code, kernel': 0.1,
    'Node: HTTP/2, streams, timers': 0.3,
    pg: 0.1,
    '@bufbuild': 0.1,
    '@grpc/grpc-js': 0.1,
    'src/booking': 0.1,
    'src, other': 0.1,
  });
});

test('where CPU time goes is a table of means, the most first', () => {
  const sides = [
    sideOf('ours', 8, [
      { ...round(9), parts: { pg: 10, kysely: 30 } },
      { ...round(9), parts: { pg: 20, kysely: 50 } },
    ]),
    sideOf('theirs', 8, [{ ...round(9), parts: { pg: 7 } }]),
    sideOf('not profiled', 8, [round(9)]),
  ];
  const outcomes = [{ ...reached, report: { figures: [], sides } }, failed];
  expect(partsTables(outcomes)).toMatch(
    /^reached\n.*ours +theirs\nkysely +40\.0 *\npg +15\.0 +7\.0\nall +55\.0 +7\.0$/,
  );
  const text = partsMarkdown(outcomes);
  expect(text).toContain(
    '`reached`:\n\n| microseconds of CPU a call | ours | theirs |\n| --- | --- | --- |\n| kysely | 40.0 |  |',
  );
  const document = '<!-- parts: written by npm run bench -- --profile --save -->\nstale\n<!-- end of parts -->';
  expect(withParts(document, text)).toContain(`-->\n${text}\n<!--`);
});

test('parts take turns, and a ratio is of two that followed one another', async () => {
  const turns: string[] = [];
  const part = (name: string, rates: readonly number[]) => async (nth: number) => {
    turns.push(name);
    return round(rates[nth] as number);
  };
  const [ours = [], theirs = []] = await alternate(3, [part('A', [10, 50, 90]), part('B', [10, 100, 100])]);
  expect(turns.join('')).toBe('ABABAB');
  expect(ratioOf(ours, theirs)).toBe(0.9);
});

describe('results', () => {
  test('as tables on the terminal', () => {
    const text = figuresTable(results.outcomes);
    expect(text).toMatch(/^reached +ours <b> theirs +0\.61 +>= 0\.5 +yes +noted$/m);
    expect(text).toMatch(/^ +start +1,800 ms +<= 1,500 +NO$/m);
    expect(text).toMatch(/^ +only told +7\.00 MB$/m);
    expect(text).toMatch(/^failed +ratio >= 0\.5 +FAILED +3 of 9 calls were refused$/m);
    expect(text).toMatch(/^lacking +ratio >= 0\.5 +NOT RUN +lacking pgbench$/m);
    expect(sidesTable(results.outcomes)).toMatch(/^reached +ours +32 +300 +1,000 +1\.00 +2\.00 +3\.00 +500$/m);
  });

  test('as markdown, between the marks of a document', () => {
    const text = markdown(results);
    expect(text).toContain('| reached | ours <b> theirs | 0.61 | >= 0.5 | yes |');
    expect(text).toContain('- `reached`: noted\n- `failed`: 3 of 9 calls were refused\n- `lacking`: lacking pgbench\n');
    expect(text).toContain('2 cores of A CPU, 8 GB');
    expect(text).toContain('too short to be quoted: failed.');
    const document =
      'before\n<!-- figures: written by npm run bench -- --save -->\nstale\n<!-- end of figures -->\nafter\n';
    const written = withFigures(document, text);
    expect(written).toMatch(/^before\n<!-- figures/);
    expect(written).toMatch(/<!-- end of figures -->\nafter\n$/);
    expect(written).not.toContain('stale');
    expect(withFigures(written, text)).toBe(written);
    expect(() => withFigures('no marks', text)).toThrow('lacks');
  });

  test('as a picture: a bar for each figure with an aim', () => {
    const svg = picture(results.outcomes);
    expect(svg.match(/<rect class="met"/g)).toHaveLength(1);
    expect(svg.match(/<rect class="missed"/g)).toHaveLength(1);
    expect(svg).toContain('ours &lt;b&gt; theirs');
    expect(svg).toContain('prefers-color-scheme: dark');
    expect(svg).not.toMatch(/NaN|undefined/);
  });

  test('newer ones take the place of older ones of the same machine', () => {
    const newer = { machine, outcomes: [{ ...reached, at: '2026-02-03T00:00:00Z' }] };
    const order = ['failed', 'reached', 'lacking'];
    const all = merged(results, newer, order);
    expect(all.outcomes.map(({ name, at }) => `${name} ${at.slice(0, 10)}`)).toEqual([
      'failed 2026-01-02',
      'reached 2026-02-03',
      'lacking 2026-01-02',
    ]);
    expect(merged({ ...results, machine: { ...machine, cores: 4 } }, newer, order).outcomes).toHaveLength(1);
  });
});
