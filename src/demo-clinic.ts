import type { PasswordHasher } from './auth/password.ts';
import { makeAccount } from './auth/sign-up.ts';
import { Doctor } from './availability/doctor.entity.ts';
import { Slot } from './availability/slot.entity.ts';
import type { Call } from './caller.ts';
import { sql } from './db/sql.ts';
import { row, rows } from './db/statement.ts';
import type { UnitsOfWork } from './db/unit-of-work.ts';
import type { Work } from './db/work.ts';

const ZONE = 'Asia/Kolkata';
/** India has no daylight saving time. */
const ZONE_AHEAD_MS = 5.5 * 3_600_000;
const DAY_MS = 86_400_000;
const SLOT_MS = 30 * 60_000;
const DAYS = 7;
/** Local hours at which slots begin. */
const HOURS = [9, 10, 11, 12, 14, 15, 16, 17];

/** Who works at the demonstration clinic. */
const DOCTORS = [
  {
    email: 'doctor@demo.test',
    displayName: 'Dr. Ananya Sharma',
    specialties: ['Ayurveda', 'Dermatology'],
    languages: ['en', 'hi'],
    bio: 'Skin and hair, twelve years of practice.',
  },
  {
    email: 'doctor2@demo.test',
    displayName: 'Dr. Rohan Mehta',
    specialties: ['General medicine'],
    languages: ['en', 'hi', 'gu'],
    bio: 'Family doctor.',
  },
  {
    email: 'doctor3@demo.test',
    displayName: 'Dr. Lakshmi Iyer',
    specialties: ['Gynaecology'],
    languages: ['en', 'ta'],
    bio: 'Women’s health.',
  },
  {
    email: 'doctor4@demo.test',
    displayName: 'Dr. Farhan Qureshi',
    specialties: ['Psychiatry'],
    languages: ['en', 'hi', 'ur'],
    bio: 'Sleep, anxiety, depression.',
  },
  {
    email: 'doctor5@demo.test',
    displayName: 'Dr. Meera Nair',
    specialties: ['Paediatrics', 'Nutrition'],
    languages: ['en', 'ml'],
    bio: 'Children of all ages.',
  },
] as const;

/** Fills a database without accounts with a small clinic; answers false, with nothing done, when there are accounts. */
export async function seedDemoClinic(
  units: UnitsOfWork,
  passwords: PasswordHasher,
  password: string,
): Promise<boolean> {
  const call = serverCall('SeedDemoClinic');
  if (await units.read(call.signal, (em) => row(em, sql`SELECT 1 FROM app_user LIMIT 1`))) return false;
  const hashed = async <T extends { email: string; displayName: string }>({ email, displayName, ...more }: T) => {
    const passwordHash = await passwords.hash(password);
    return { ...more, account: { email, displayName, passwordHash, timeZone: ZONE } };
  };
  const admin = await hashed({ email: 'admin@demo.test', displayName: 'Asha Administrator' });
  const patient = await hashed({ email: 'patient@demo.test', displayName: 'Priya Patient' });
  const doctors = await Promise.all(DOCTORS.map(hashed));
  // All or nothing: a start that is killed here begins again next time.
  await units.write(call, async (work) => {
    await makeAccount(work, { ...admin.account, role: 'ADMINISTRATOR' });
    await makeAccount(work, { ...patient.account, role: 'PATIENT' });
    for (const { account, ...profile } of doctors) await makeDoctor(work, account, profile);
  });
  return true;
}

/** Publishes the coming week of each demonstration doctor who has no open slot ahead, so that an old demonstration works again. */
export async function publishComingWeek(units: UnitsOfWork): Promise<void> {
  const call = serverCall('SeedDemoClinic');
  const idle = await units.read(call.signal, (em, now) =>
    rows<{ id: string }>(
      em,
      sql`SELECT d.user_id AS id FROM doctor d JOIN app_user u ON u.id = d.user_id
          WHERE d.state = 'ACTIVE' AND u.email = ANY (${DOCTORS.map(({ email }) => email)})
            AND NOT EXISTS (SELECT FROM slot WHERE doctor_id = d.user_id AND live AND start_at > ${now})`,
    ),
  );
  for (const { id } of idle) await units.write(call, (work) => publishWeek(work, id));
}

async function makeDoctor(
  work: Work,
  account: Omit<Parameters<typeof makeAccount>[1], 'role'>,
  profile: Omit<(typeof DOCTORS)[number], 'email' | 'displayName'>,
) {
  const { user, now } = await makeAccount(work, { ...account, role: 'DOCTOR' });
  const doctor = Doctor.pending(user.id, now);
  doctor.describe({ specialties: [...profile.specialties], languages: [...profile.languages], bio: profile.bio }, now);
  doctor.approve(now);
  work.em.persist(doctor);
}

async function publishWeek(work: Work, doctorId: string): Promise<void> {
  work.about({ entityType: 'doctor', entityId: doctorId });
  const { now } = await work.lock({});
  const midnight = Math.floor((now.getTime() + ZONE_AHEAD_MS) / DAY_MS) * DAY_MS - ZONE_AHEAD_MS;
  for (let day = 0; day <= DAYS; day++) {
    for (const hour of HOURS) {
      const startAt = new Date(midnight + day * DAY_MS + hour * 3_600_000);
      if (startAt <= now) continue;
      const times = { startAt, endAt: new Date(startAt.getTime() + SLOT_MS) };
      work.em.persist(Slot.open(doctorId, times, { field: 'slot', now }));
    }
  }
}

/** A call of the server itself, as the audit trail shows it. */
export function serverCall(method: string): Call {
  return {
    caller: undefined,
    method,
    traceId: '',
    clientAddress: '',
    userAgent: '',
    signal: AbortSignal.timeout(60_000),
  };
}
