import { atPatroni } from '../at-patroni.ts';
import type { Drill } from '../drill.ts';
import { killLeader } from './leader-killed.ts';

export const leaderKilledBehindPooler: Drill = {
  name: 'leader-killed-behind-pooler',
  story: 'the same with PgBouncer in transaction mode between the instances and the balancer',
  breaks: [
    {
      file: 'deploy/pgbouncer/pgbouncer.ini',
      from: 'server_login_retry = 1',
      to: 'server_login_retry = 60',
      means: 'PgBouncer looks once a minute whether the database is back',
    },
  ],
  run: (stage) => atPatroni(stage, (scene) => killLeader(stage, scene), { pooled: true }),
};
