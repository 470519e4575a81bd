import type { Drill } from '../drill.ts';
import { cancelRaces } from './cancel-races.ts';
import { clientGone } from './client-gone.ts';
import { commitCut } from './commit-cut.ts';
import { commitSilent } from './commit-silent.ts';
import { connectionFlood } from './connection-flood.ts';
import { connectionsTerminated } from './connections-terminated.ts';
import { crowdOnOneSlot } from './crowd-on-one-slot.ts';
import { databaseAway } from './database-away.ts';
import { deadlineOnSlowDatabase } from './deadline-on-slow-database.ts';
import { diskFull } from './disk-full.ts';
import { etcdLost } from './etcd-lost.ts';
import { failover } from './failover.ts';
import { forgedTokens } from './forged-tokens.ts';
import { frozenInstance } from './frozen-instance.ts';
import { fuzz } from './fuzz.ts';
import { hostileTransport } from './hostile-transport.ts';
import { hotSlot } from './hot-slot.ts';
import { hundredThousandResets } from './hundred-thousand-resets.ts';
import { keyRotation } from './key-rotation.ts';
import { killedAtAJob } from './killed-at-a-job.ts';
import { killedInstances } from './killed-instances.ts';
import { lateDuplicateCancel } from './late-duplicate-cancel.ts';
import { leaderFrozen } from './leader-frozen.ts';
import { leaderKilled } from './leader-killed.ts';
import { leaderKilledBehindPooler } from './leader-killed-behind-pooler.ts';
import { leaderSwitched } from './leader-switched.ts';
import { linearizable } from './linearizable.ts';
import { migrationUnderLoad } from './migration-under-load.ts';
import { model } from './model.ts';
import { neverEndingClients } from './never-ending-clients.ts';
import { oneKeyFiftyTimes } from './one-key-fifty-times.ts';
import { oppositeReschedules } from './opposite-reschedules.ts';
import { overload } from './overload.ts';
import { pooler } from './pooler.ts';
import { postgresRestart } from './postgres-restart.ts';
import { readOnlyLeader } from './read-only-leader.ts';
import { redisAway } from './redis-away.ts';
import { refreshInTwoTabs } from './refresh-in-two-tabs.ts';
import { replicaTroubled } from './replica-troubled.ts';
import { restore } from './restore.ts';
import { revokedEverywhere } from './revoked-everywhere.ts';
import { rollingRestart } from './rolling-restart.ts';
import { rollingRestartDirect } from './rolling-restart-direct.ts';
import { silentDatabase } from './silent-database.ts';
import { slowDatabase } from './slow-database.ts';
import { topology } from './topology.ts';
import { wrongPasswords } from './wrong-passwords.ts';

/** All of them, in the order in which they run. */
export const drills: readonly Drill[] = [
  model,
  linearizable,
  postgresRestart,
  failover,
  replicaTroubled,
  leaderKilled,
  leaderKilledBehindPooler,
  leaderSwitched,
  leaderFrozen,
  etcdLost,
  pooler,
  readOnlyLeader,
  diskFull,
  restore,
  migrationUnderLoad,
  oppositeReschedules,
  lateDuplicateCancel,
  cancelRaces,
  deadlineOnSlowDatabase,
  clientGone,
  oneKeyFiftyTimes,
  crowdOnOneSlot,
  frozenInstance,
  databaseAway,
  commitSilent,
  commitCut,
  connectionsTerminated,
  killedInstances,
  killedAtAJob,
  silentDatabase,
  slowDatabase,
  rollingRestart,
  rollingRestartDirect,
  topology,
  overload,
  hotSlot,
  wrongPasswords,
  redisAway,
  forgedTokens,
  revokedEverywhere,
  refreshInTwoTabs,
  keyRotation,
  fuzz,
  hostileTransport,
  hundredThousandResets,
  neverEndingClients,
  connectionFlood,
];
