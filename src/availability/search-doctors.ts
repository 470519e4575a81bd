import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { allOf, containing, rows, type Sql } from '../db/statement.ts';
import { type Page, type PageAsk, pageOf } from '../page.ts';
import { searchKey } from './doctor.entity.ts';
import { type DoctorRow, type DoctorView, doctorColumns, doctorView, nextOpen, type OpenRange } from './doctor-view.ts';

/** What SearchDoctors asks for; empty conditions don't count. */
export interface DoctorSearch {
  readonly query: string;
  readonly specialty: string;
  readonly language: string;
  readonly open: OpenRange;
}

/** Place in the listing: badness of the match (0 when nothing was asked), name in lower case, id. */
export type DoctorCursor = readonly [badness: number, name: string, id: string];

/** Active doctors that meet every condition: best match first, then by name. Each with its next open time in the range asked. */
export async function searchDoctors(
  em: EntityManager,
  search: DoctorSearch,
  { page, now }: { page: PageAsk<DoctorCursor>; now: Date },
): Promise<Page<DoctorView, DoctorCursor>> {
  type Found = DoctorRow & { readonly badness: number; readonly name: string };
  const badness = badnessOf(search.query);
  const bounded = search.open.from !== undefined || search.open.until !== undefined;
  const found = await rows<Found>(
    em,
    sql`SELECT d.*, next.start_at AS next_open_at
        FROM (
          SELECT *, id AS user_id FROM (
            SELECT ${doctorColumns}, ${badness} AS badness, lower(u.display_name) AS name
            FROM doctor d JOIN app_user u ON u.id = d.user_id AND u.role = 'DOCTOR'
            WHERE ${allOf([sql`d.state = 'ACTIVE'`, ...conditions(search), bounded && sql`EXISTS (${nextOpen(now, search.open)})`])}) ranked
          WHERE ${page.after ? sql`(badness::double precision, name, id) > (${page.after[0]}::double precision, ${page.after[1]}, ${page.after[2]}::uuid)` : sql`TRUE`}
          ORDER BY badness, name, id LIMIT ${page.size + 1}) d
        LEFT JOIN LATERAL (${nextOpen(now, search.open)}) next ON TRUE
        ORDER BY badness, name, id`,
  );
  const { rows: shown, next } = pageOf(
    found,
    page.size,
    (doctor): DoctorCursor => [doctor.badness, doctor.name, doctor.id],
  );
  return { rows: shown.map(doctorView), next };
}

function conditions({ query, specialty, language }: DoctorSearch): (Sql | false)[] {
  const wanted = query.trim().toLowerCase();
  return [
    wanted !== '' && sql`(${wanted} <% lower(u.display_name) OR lower(u.display_name) LIKE ${containing(query)})`,
    specialty.trim() !== '' && sql`d.specialty_keys @> ARRAY[${searchKey(specialty)}]`,
    language.trim() !== '' && sql`d.language_keys @> ARRAY[${searchKey(language)}]`,
  ];
}

/** From 0, the query stands in the name letter for letter, to 1,000,000; integers, so that a page token keeps it exactly. */
function badnessOf(query: string): Sql {
  const wanted = query.trim().toLowerCase();
  if (wanted === '') return sql`0`;
  return sql`round((1 - word_similarity(${wanted}, lower(u.display_name))) * 1000000)::integer`;
}
