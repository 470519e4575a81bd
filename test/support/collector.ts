import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import * as grpc from '@grpc/grpc-js';
import type { TlsPair } from '../../src/rpc/listener.ts';
import { type ReceivedSpan, spansOfBytes, spansOfJson } from './otlp-spans.ts';

/** Takes spans, answers 503, or never answers. */
export type Mood = 'takes' | 'refuses' | 'hangs';

/** Where spans are sent, by OTLP over HTTP and over gRPC. */
export interface Collector {
  readonly httpUrl: string;
  readonly grpcUrl: string;
  readonly spans: readonly ReceivedSpan[];
  /** Headers of the last request. */
  headers(): IncomingHttpHeaders;
  /** Requests so far, taken or not. */
  requests(): number;
  mood(mood: Mood): void;
  /** Resolves with the spans that `which` wants, once there are `count` of them. */
  received(which: (span: ReceivedSpan) => boolean, count: number): Promise<ReceivedSpan[]>;
  stop(): Promise<void>;
}

const PATIENCE_MS = 15_000;
/** Of opentelemetry.proto.collector.trace.v1.TraceService. */
const EXPORT = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';

/** With a certificate it takes spans by TLS, and only from who shows the same certificate. */
export async function startCollector(tls?: TlsPair): Promise<Collector> {
  const spans: ReceivedSpan[] = [];
  let mood: Mood = 'takes';
  let headers: IncomingHttpHeaders = {};
  let requests = 0;
  const take: RequestListener = async (req, res) => {
    requests += 1;
    headers = req.headers;
    const sent = Buffer.concat(await req.toArray());
    const body = req.headers['content-encoding'] === 'gzip' ? gunzipSync(sent) : sent;
    if (mood === 'hangs') return;
    if (mood === 'refuses') return void res.writeHead(503).end();
    const json = req.headers['content-type'] === 'application/json';
    spans.push(...(json ? spansOfJson(body.toString()) : spansOfBytes(body)));
    res.writeHead(200, { 'content-type': `${req.headers['content-type']}` }).end(json ? '{}' : '');
  };
  const http = tls ? createTlsServer({ ...tls, ca: tls.cert, requestCert: true }, take) : createServer(take);
  await once(http.listen(0, '127.0.0.1'), 'listening');
  const rpc = new grpc.Server();
  const asIs = (bytes: Buffer) => bytes;
  const method = { path: EXPORT, requestStream: false, responseStream: false };
  const serialize = {
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  };
  rpc.addService(
    { export: { ...method, ...serialize } },
    {
      export: (call: grpc.ServerUnaryCall<Buffer, Buffer>, answer: grpc.sendUnaryData<Buffer>) => {
        requests += 1;
        headers = call.metadata.toHttp2Headers() as IncomingHttpHeaders;
        spans.push(...spansOfBytes(call.request));
        answer(null, Buffer.alloc(0));
      },
    },
  );
  const grpcPort = await new Promise<number>((resolve, reject) =>
    rpc.bindAsync('127.0.0.1:0', tls ? credentialsOf(tls) : grpc.ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(error) : resolve(port),
    ),
  );
  const scheme = tls ? 'https' : 'http';
  return {
    httpUrl: `${scheme}://127.0.0.1:${(http.address() as AddressInfo).port}`,
    grpcUrl: `${scheme}://127.0.0.1:${grpcPort}`,
    spans,
    headers: () => headers,
    requests: () => requests,
    mood: (next) => {
      mood = next;
    },
    async received(which, count) {
      for (const deadline = Date.now() + PATIENCE_MS; ; await sleep(50)) {
        const found = spans.filter(which);
        if (found.length >= count) return found;
        if (Date.now() > deadline) throw new Error(`${found.length} of ${count} spans came: ${JSON.stringify(spans)}`);
      }
    },
    async stop() {
      http.closeAllConnections();
      http.close();
      rpc.forceShutdown();
    },
  };
}

function credentialsOf({ cert, key }: TlsPair): grpc.ServerCredentials {
  const pair = { cert_chain: Buffer.from(cert), private_key: Buffer.from(key) };
  return grpc.ServerCredentials.createSsl(Buffer.from(cert), [pair], true);
}
