import { createPasswordHasher } from '../../src/auth/password.ts';
import type { RoleName } from '../../src/caller.ts';
import { sql } from '../../src/db/sql.ts';
import { forkFor, rows } from '../../src/db/statement.ts';
import { type Backstage, openSlots, type Person, person } from '../../test/support/people.ts';
import { createPool, type Pool } from './pool.ts';
import type { Echo } from './shot.ts';

export const ROLES = ['PATIENT', 'DOCTOR', 'ADMINISTRATOR'] as const satisfies readonly RoleName[];

/** Who calls, and what the ids in requests name. */
export interface Cast {
  readonly pool: Pool;
  headersOf(role: RoleName): Person['headers'];
  /** Somebody else plays `role` when its player was signed out or suspended by a shot. */
  recast(role: RoleName, echo: Echo): Promise<void>;
}

const PASSWORD = 'seven quiet monsoon evenings';

/** A patient, a doctor with open slots - soon, and later - and an administrator, all with a password. */
export async function createCast(backstage: Backstage): Promise<Cast> {
  const pool = createPool();
  const players = new Map<RoleName, Person>();
  const hash = await createPasswordHasher().hash(PASSWORD);
  pool.add('password', PASSWORD);
  const enter = async (role: RoleName) => {
    const player = await person(backstage, role);
    await rows(forkFor(backstage.orm), sql`UPDATE app_user SET password_hash = ${hash} WHERE id = ${player.id}`);
    pool.add('user', player.id);
    pool.add('session', player.sessionId);
    pool.add('email', player.email);
    if (role === 'DOCTOR') {
      pool.add('doctor', player.id);
      for (const inMinutes of [5, 120]) {
        const slots = await openSlots(backstage, player.id, { count: 15, inMinutes, minutes: 5 });
        for (const { id } of slots) pool.add('slot', id);
      }
    }
    players.set(role, player);
  };
  for (const role of ROLES) await enter(role);
  return {
    pool,
    headersOf: (role) => players.get(role)?.headers ?? { authorization: 'Bearer nobody' },
    async recast(role, { reason }) {
      if (reason === 'SESSION_REVOKED' || reason === 'ACCOUNT_SUSPENDED') await enter(role);
    },
  };
}
