import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import { createClient } from '@connectrpc/connect';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { AvailabilityService, SlotState } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { Fault } from '../fault.ts';
import { type Listeners, listeners, transports } from './listeners.fixture.ts';

const ID = '0192f0c4-7e5a-7b3c-8d2e-1f2a3b4c5d6e';
const METHOD = '/amrutam.availability.v1.AvailabilityService/GetSlot';
const JSON_QUERY = `?connect=v1&encoding=json&message=${encodeURIComponent(JSON.stringify({ slotId: ID }))}`;
const BINARY_QUERY = `?connect=v1&encoding=proto&base64=1&message=${Buffer.from(`\n\x24${ID}`).toString('base64url')}`;
const TAG = /^"[\w-]{43}"$/;

let served: Listeners;
let state: SlotState;
let doctorId: string;

beforeAll(async () => {
  const getSlot = ({ slotId }: { readonly slotId: string }) => {
    if (slotId !== ID) throw new Fault('SLOT_NOT_FOUND', 'no such slot');
    return { slot: { id: ID, state, doctorId } };
  };
  served = await listeners({ availability: { getSlot } }, { corsOrigins: ['https://app.test'] });
});

beforeEach(() => {
  state = SlotState.OPEN;
  doctorId = '';
});

afterAll(() => served.close());

interface Answer {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

async function over1(headers: http.OutgoingHttpHeaders = {}, path = METHOD + JSON_QUERY): Promise<Answer> {
  const request = http.get({ host: '127.0.0.1', port: served.http, path, headers });
  const [answer] = (await once(request, 'response')) as [http.IncomingMessage];
  return { status: answer.statusCode, headers: answer.headers, body: `${Buffer.concat(await answer.toArray())}` };
}

async function over2(headers: http.OutgoingHttpHeaders = {}, path = METHOD + JSON_QUERY): Promise<Answer> {
  const session = http2.connect(`https://127.0.0.1:${served.https}`, { rejectUnauthorized: false });
  const stream = session.request({ ':path': path, ...headers });
  const [answer] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader];
  const body = `${Buffer.concat(await stream.toArray())}`;
  session.destroy();
  return { status: answer[':status'], headers: answer, body };
}

const tagOf = async (answer: Promise<Answer>) => String((await answer).headers.etag);

describe.each([
  ['HTTP/1.1', over1],
  ['HTTP/2', over2],
])('over %s', (_, ask) => {
  test('who has the answer gets 304: no body, but all the headers that are not about it', async () => {
    const whole = await ask({ origin: 'https://app.test' });
    expect([whole.status, JSON.parse(whole.body)]).toEqual([200, { slot: { id: ID, state: 'SLOT_STATE_OPEN' } }]);
    expect(whole.headers.etag).toMatch(TAG);
    const tag = String(whole.headers.etag);
    const short = await ask({ origin: 'https://app.test', 'if-none-match': tag, 'x-request-id': 'again' });
    expect([short.status, short.body]).toEqual([304, '']);
    expect(short.headers).toMatchObject({
      etag: tag,
      'cache-control': 'public, max-age=1',
      vary: 'origin, authorization',
      'access-control-allow-origin': 'https://app.test',
      'access-control-expose-headers': expect.stringMatching(/\betag\b/),
      'x-content-type-options': 'nosniff',
      'x-request-id': 'again',
    });
    const missing = Object.keys(whole.headers).filter((name) => !(name in short.headers));
    expect(missing.sort()).toEqual(['content-length', 'content-type']);
  });

  test('when the slot has been booked, the answer is whole again, with another tag', async () => {
    const before = await tagOf(ask());
    state = SlotState.BOOKED;
    const { status, headers, body } = await ask({ 'if-none-match': before });
    expect([status, JSON.parse(body).slot.state]).toEqual([200, 'SLOT_STATE_BOOKED']);
    expect(headers.etag).toMatch(TAG);
    expect(headers.etag).not.toBe(before);
  });

  test('a token keeps tags away', async () => {
    const tag = await tagOf(ask());
    for (const ifNoneMatch of [tag, '*']) {
      const answer = await ask({ authorization: 'Bearer patient', 'if-none-match': ifNoneMatch });
      expect([answer.status, answer.headers.etag]).toEqual([200, undefined]);
      expect(answer.headers['cache-control']).toBe('private, no-store');
    }
  });

  test('an answer of half a megabyte comes whole', async () => {
    doctorId = 'é'.repeat(250_000);
    const { headers, body } = await ask();
    expect(Buffer.byteLength(body)).toBe(Number(headers['content-length']));
    expect(JSON.parse(body).slot.doctorId).toBe(doctorId);
    expect((await ask({ 'if-none-match': String(headers.etag) })).status).toBe(304);
  });
});

test('a tag is found in lists, weakened, and twice; a star stands for any', async () => {
  const tag = await tagOf(over1());
  const matching = [`W/${tag}`, `"a", ${tag}`, `W/"a,b" ,W/${tag},"c"`, ` ${tag} `, '*'];
  for (const ifNoneMatch of matching) expect((await over1({ 'if-none-match': ifNoneMatch })).status).toBe(304);
  const twice = await over1({ 'if-none-match': ['"a"', tag] as never });
  expect(twice.status).toBe(304);
});

test('what is no tag, or another, changes nothing', async () => {
  const tag = await tagOf(over1());
  const others = ['', '""', '"', tag.slice(1, -1), tag.slice(0, -1), tag.toLowerCase(), '"*"', '**', '*, "a"', 'W/'];
  for (const ifNoneMatch of [...others, '"a",'.repeat(1_000), '"\xff\xfe'])
    expect((await over1({ 'if-none-match': ifNoneMatch })).status).toBe(200);
});

test('JSON and binary have tags of their own, and both stay the same', async () => {
  const [json, binary] = [await tagOf(over1()), await tagOf(over1({}, METHOD + BINARY_QUERY))];
  expect(binary).toMatch(TAG);
  expect(binary).not.toBe(json);
  const short = await over1({ 'if-none-match': binary }, METHOD + BINARY_QUERY);
  expect([short.status, short.body]).toEqual([304, '']);
  expect((await over1({ 'if-none-match': json }, METHOD + BINARY_QUERY)).status).toBe(200);
});

test('a connection goes on after 304', async () => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const send = async () => {
    const options = { agent, host: '127.0.0.1', port: served.http, path: METHOD + JSON_QUERY };
    const request = http.get({ ...options, headers: { 'if-none-match': '*' } });
    const [answer] = await once(request, 'response');
    await once(answer.resume(), 'end');
    return [answer.statusCode, request.reusedSocket];
  };
  expect([await send(), await send()]).toEqual([
    [304, false],
    [304, true],
  ]);
  agent.destroy();
});

test('refusals, POST, HEAD and other protocols know no tags', async () => {
  const refused = await over1({ 'if-none-match': '*' }, METHOD + JSON_QUERY.replace('1f2a', '0000'));
  expect([refused.status, refused.headers.etag]).toEqual([404, undefined]);
  const url = `http://127.0.0.1:${served.http}${METHOD}`;
  const headers = { 'content-type': 'application/json', 'if-none-match': '*' };
  const posted = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ slotId: ID }) });
  expect([posted.status, posted.headers.get('etag')]).toEqual([200, null]);
  expect((await fetch(url + JSON_QUERY, { method: 'HEAD', headers: { 'if-none-match': '*' } })).status).toBe(405);
  const tagging: string[] = [];
  for (const [name, transport] of Object.entries(transports(served))) {
    const onHeader = (header: Headers) => void (header.has('etag') && tagging.push(name));
    const { slot } = await createClient(AvailabilityService, transport).getSlot({ slotId: ID }, { onHeader });
    expect(slot?.id).toBe(ID);
  }
  expect(tagging).toEqual(['Connect GET']);
});

test('scripts of other origins may send the header', async () => {
  const headers = { origin: 'https://app.test', 'access-control-request-method': 'GET' };
  const { headers: told } = await fetch(`http://127.0.0.1:${served.http}${METHOD}`, { method: 'OPTIONS', headers });
  expect(told.get('access-control-allow-headers')).toMatch(/\bif-none-match\b/);
});
