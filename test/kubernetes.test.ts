import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { readConfig } from '../src/config.ts';
import { CONNECTIONS } from '../src/jobs/run-jobs.ts';
import { GRACE_MS } from '../src/serve.ts';
import { built, faultsOf, type Manifest, manifestsIn } from './support/manifests.ts';
import { peakMemory } from './support/peak-memory.ts';
import { startServer, type TestServer } from './support/server.ts';

interface Container {
  readonly image: string;
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly securityContext: object;
  readonly [probe: string]: unknown;
}

interface Pod {
  readonly containers: readonly [Container];
  readonly terminationGracePeriodSeconds: number;
  readonly securityContext: { readonly runAsUser: number };
  readonly automountServiceAccountToken: boolean;
}

/** What runs containers. */
interface Workload extends Manifest {
  readonly spec: { readonly template: { readonly metadata: { labels: Record<string, string> }; readonly spec: Pod } };
}

const ROOT = 'deploy/kubernetes';

let manifests: Manifest[];
let workloads: Workload[];
let pod: Pod;
let container: Container;
let server: TestServer;
beforeAll(async () => {
  server = await startServer();
  manifests = await manifestsIn(ROOT);
  workloads = manifests.filter((one): one is Workload => ['Deployment', 'Job'].includes(one.kind));
  pod = the<Workload>('Deployment', 'amrutam').spec.template.spec;
  container = pod.containers[0];
});
afterAll(() => server?.stop());

function the<T extends Manifest>(kind: string, name: string): T {
  const found = manifests.filter((one) => one.kind === kind && one.metadata.name === name);
  expect([kind, name, found.length]).toEqual([kind, name, 1]);
  return found[0] as T;
}

describe('the manifests', () => {
  test('are what their kinds may be, and no name in them is unknown', async () => {
    expect(await faultsOf(manifests)).toEqual([]);
    const misspelt = { ...the('Service', 'redis'), spec: { selektor: { a: 'b' } } };
    const wrong = { ...the('Service', 'redis'), spec: { ports: [{ port: 'http' }] } };
    expect((await faultsOf([misspelt])).join()).toMatch('selektor');
    expect((await faultsOf([wrong])).length).toBeGreaterThan(0);
  });

  test('come together by kustomize', async () => {
    const all = await built(`${ROOT}/production`);
    if (!all)
      return void process.stderr.write(
        'NOT TESTED: kustomize, because there is no kubectl 1.21 or newer on the PATH.\n',
      );
    expect(await faultsOf(all)).toEqual([]);
    expect(all.length).toBe(manifests.length + 1);
    const settings = all.find(({ kind }) => kind === 'ConfigMap') as Manifest & { data: Record<string, string> };
    readConfig({ env: settings.data });
    for (const one of all) if (one.kind !== 'Namespace') expect(one.metadata.namespace).toBe('amrutam');
    const text = JSON.stringify(all);
    expect(text).toContain(`"configMapRef":{"name":"${settings.metadata.name}"}`);
    const { version } = JSON.parse(await readFile('package.json', 'utf8'));
    expect(text.match(/registry\.example\.com\/amrutam-telemedicine-backend:[\d.]+/g)).toEqual(
      Array(2).fill(`registry.example.com/amrutam-telemedicine-backend:${version}`),
    );
  });

  test('can be those of a restored database, as docs/restore.md has it', async () => {
    const page = await readFile('docs/restore.md', 'utf8');
    const [, from = '', to = ''] = /sed -i 's\/(\S+?)\/(\S+?)\/g'/.exec(page) ?? [];
    const restoring = parse(/```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? '');
    const renamed = (JSON.parse(JSON.stringify(manifests).replaceAll(from, to)) as Manifest[]).map((one) =>
      one.kind === 'Cluster' ? { ...one, spec: { ...(one as unknown as { spec: object }).spec, ...restoring } } : one,
    );
    expect(await faultsOf(renamed)).toEqual([]);
    const cluster = renamed.find(({ kind }) => kind === 'Cluster') as unknown as { spec: typeof restoring };
    expect(Object.keys(restoring).sort()).toEqual(['bootstrap', 'externalClusters', 'plugins']);
    const store = manifests.find(({ kind }) => kind === 'ObjectStore')?.metadata.name;
    const [{ plugin }] = cluster.spec.externalClusters;
    expect(plugin.parameters).toEqual({ barmanObjectName: store, serverName: from });
    expect(cluster.spec.plugins[0].parameters).toEqual({ barmanObjectName: store, serverName: to });
    const text = JSON.stringify(renamed).replace(`"serverName":"${from}"`, '');
    expect(text.match(new RegExp(`${from}(?!-2)`, 'g'))).toBeNull();
  });

  test('have the alerts that deploy/prometheus has (else: npm run kubernetes-rules)', async () => {
    const { groups } = parse(await readFile('deploy/prometheus/alerts.yml', 'utf8'));
    expect(the('PrometheusRule', 'amrutam')).toMatchObject({ spec: { groups } });
  });
});

describe('every container', () => {
  test('has no privilege, runs as the user of its image, and can write nothing but what is mounted', async () => {
    const user = Number(/^USER (\d+):/m.exec(await readFile('Dockerfile', 'utf8'))?.[1]);
    for (const { spec, metadata } of workloads) {
      const { containers, securityContext, automountServiceAccountToken } = spec.template.spec;
      expect(securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
      expect(automountServiceAccountToken).toBe(false);
      if (metadata.name !== 'redis') expect(securityContext.runAsUser).toBe(user);
      for (const each of containers) {
        expect(each.securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        });
        expect(each.resources).toMatchObject({ requests: expect.anything(), limits: { memory: expect.any(String) } });
      }
    }
  });

  test('that is of our image does what it knows, with variables that it knows', async () => {
    const { scripts } = JSON.parse(await readFile('package.json', 'utf8'));
    const table = (await readFile('README.md', 'utf8')).split('\n').filter((line) => line.startsWith('| `'));
    const known = table.flatMap((line) => line.split('|')[1]?.match(/[A-Z_]{2,}/g) ?? []);
    for (const { spec } of workloads) {
      const [{ image, args = ['start'], env = [] }] = spec.template.spec.containers;
      if (image !== container.image) continue;
      expect(Object.keys(scripts)).toContain(args[0]);
      expect(known).toEqual(expect.arrayContaining(env.map(({ name }) => name)));
    }
  });

  test('may be reached, and reach, only what a policy names', () => {
    const policies = manifests.filter(({ kind }) => kind === 'NetworkPolicy');
    for (const { spec } of workloads) {
      const { labels } = spec.template.metadata;
      const own = { spec: { podSelector: { matchLabels: labels }, policyTypes: ['Ingress', 'Egress'] } };
      expect(policies).toContainEqual(expect.objectContaining({ spec: expect.objectContaining(own.spec) }));
    }
  });
});

describe('an instance', () => {
  const setting = (name: string) => container.env?.find((one) => one.name === name)?.value;

  test('listens where it is looked for', () => {
    const ports = Object.fromEntries(container.ports.map(({ name, containerPort }) => [name, containerPort]));
    const { grpcPort, httpPort } = readConfig({ env: {} });
    expect(ports).toMatchObject({ grpc: grpcPort, http: httpPort, metrics: expect.any(Number) });
    const { spec } = the<Manifest & { spec: { ports: { name: string; port: number; targetPort: string }[] } }>(
      'Service',
      'amrutam',
    );
    for (const { port, targetPort } of spec.ports) expect(ports[targetPort]).toBe(port);
  });

  test('sends mails where three settings are no comment any more, from the secret that README names', async () => {
    const text = await readFile(`${ROOT}/production/kustomization.yaml`, 'utf8');
    const settings = [...text.matchAll(/^ +# - ([A-Z_]+)=(.*)$/gm)].map(([, name, value]) => [name, value] as const);
    const env = Object.fromEntries(settings);
    expect(Object.keys(env)).toEqual(['SMTP_URL_FILE', 'MAIL_FROM', 'PUBLIC_URL']);
    expect(readConfig({ env: { ...env, SMTP_URL_FILE: '', SMTP_URL: 'smtps://mail.example' } }).mail).toMatchObject({
      from: env.MAIL_FROM,
      publicUrl: env.PUBLIC_URL,
    });
    const { volumeMounts, volumes } = { ...container, ...pod } as unknown as Record<string, readonly object[]>;
    expect(volumeMounts).toContainEqual({ name: 'mail', mountPath: dirname(env.SMTP_URL_FILE ?? ''), readOnly: true });
    const secret = { secretName: 'amrutam-mail', optional: true, items: [{ key: 'url', path: 'url' }] };
    expect(volumes).toContainEqual({ name: 'mail', secret: expect.objectContaining(secret) });
    expect(await readFile('deploy/README.md', 'utf8')).toMatch(/create secret generic amrutam-mail --from-file=url=/);
  });

  test('answers what it is probed for', async () => {
    for (const name of ['startupProbe', 'livenessProbe', 'readinessProbe']) {
      const { httpGet } = container[name] as { httpGet: { path: string; port: string } };
      expect(httpGet.port).toBe('http');
      expect((await fetch(`http://127.0.0.1:${server.httpPort}${httpGet.path}`)).status).toBe(200);
    }
  });

  test('is given the time to drain that it takes, and goes unready before it stops', () => {
    const drainMs = Number(setting('DRAIN_DELAY')) * 1_000;
    expect(pod.terminationGracePeriodSeconds * 1_000).toBeGreaterThan(drainMs + GRACE_MS + 5_000);
    const { periodSeconds, failureThreshold } = container.readinessProbe as Record<string, number>;
    expect(drainMs).toBeGreaterThan((periodSeconds ?? 0) * (failureThreshold ?? 0) * 1_000);
  });

  test('has more memory than it was seen to take under attack', async () => {
    const { limits } = container.resources as { limits: { memory: string } };
    const [, limit] = /^(\d+)Mi$/.exec(limits.memory) ?? [];
    expect(Number(limit)).toBeGreaterThan((await peakMemory()) * 1.3);
  });

  test('finds a connection, however many they are', () => {
    const { spec: scaling } = the<Manifest & { spec: { maxReplicas: number } }>('HorizontalPodAutoscaler', 'amrutam');
    const { spec } = the<Manifest & { spec: { postgresql: { parameters: Record<string, string> } } }>(
      'Cluster',
      'amrutam-database',
    );
    const { databasePool } = readConfig({ env: {} });
    expect(Number(spec.postgresql.parameters.max_connections)).toBeGreaterThan(
      (scaling.maxReplicas + 1) * (databasePool + CONNECTIONS),
    );
  });
});
