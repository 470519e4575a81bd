import { Migration } from '@mikro-orm/migrations';

/** Accounts, their sessions and refresh tokens, and doctors' profiles. */
export class Accounts extends Migration {
  override up(): void {
    this.addSql(`CREATE EXTENSION IF NOT EXISTS btree_gist`);
    this.addSql(`CREATE EXTENSION IF NOT EXISTS pg_trgm`);
    this.addSql(`
      CREATE TABLE app_user (
        id uuid PRIMARY KEY,
        email text NOT NULL CHECK (email = lower(email)),
        password_hash text NOT NULL,
        display_name text NOT NULL CHECK (display_name <> ''),
        role text NOT NULL CHECK (role IN ('PATIENT', 'DOCTOR', 'ADMINISTRATOR')),
        state text NOT NULL CHECK (state IN ('ACTIVE', 'SUSPENDED')),
        time_zone text NOT NULL,
        failed_sign_ins integer NOT NULL CHECK (failed_sign_ins >= 0),
        sign_in_blocked_until timestamptz,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL
      ) WITH (fillfactor = 80)`);
    this.addSql(`CREATE UNIQUE INDEX app_user_email ON app_user (email)`);
    this.addSql(`CREATE INDEX app_user_name_trigrams ON app_user USING gin (lower(display_name) gin_trgm_ops)`);
    // Doctors have indexes of their own, so that searching for them doesn't cost more with every patient. Roles never change.
    this.addSql(
      `CREATE INDEX app_user_doctor_trigrams ON app_user USING gin (lower(display_name) gin_trgm_ops) WHERE role = 'DOCTOR'`,
    );
    this.addSql(`CREATE INDEX app_user_doctor_by_name ON app_user (lower(display_name), id) WHERE role = 'DOCTOR'`);
    this.addSql(`CREATE INDEX app_user_email_trigrams ON app_user USING gin (email gin_trgm_ops)`);
    this.addSql(`CREATE INDEX app_user_role ON app_user (role, id)`);

    this.addSql(`
      CREATE TABLE session (
        id uuid PRIMARY KEY,
        user_id uuid NOT NULL REFERENCES app_user (id),
        user_agent text NOT NULL,
        client_address text NOT NULL,
        created_at timestamptz NOT NULL,
        refreshed_at timestamptz NOT NULL,
        idle_expires_at timestamptz NOT NULL,
        expires_at timestamptz NOT NULL,
        revoked_at timestamptz
      )`);
    this.addSql(`CREATE INDEX session_by_user ON session (user_id, id)`);

    this.addSql(`
      CREATE TABLE refresh_token (
        id uuid PRIMARY KEY,
        session_id uuid NOT NULL REFERENCES session (id) ON DELETE CASCADE,
        token_hash bytea NOT NULL CHECK (length(token_hash) = 32),
        issued_at timestamptz NOT NULL,
        replaced_at timestamptz,
        sealed_child bytea
      )`);
    this.addSql(`CREATE UNIQUE INDEX refresh_token_hash ON refresh_token (token_hash)`);
    this.addSql(`CREATE INDEX refresh_token_session ON refresh_token (session_id)`);

    this.addSql(`
      CREATE TABLE doctor (
        user_id uuid PRIMARY KEY REFERENCES app_user (id),
        specialties text[] NOT NULL,
        specialty_keys text[] NOT NULL,
        languages text[] NOT NULL,
        language_keys text[] NOT NULL,
        bio text NOT NULL,
        state text NOT NULL CHECK (state IN ('PENDING', 'ACTIVE', 'SUSPENDED')),
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL
      )`);
    this.addSql(`CREATE INDEX doctor_specialties ON doctor USING gin (specialty_keys)`);
    this.addSql(`CREATE INDEX doctor_languages ON doctor USING gin (language_keys)`);
    this.addSql(`CREATE INDEX doctor_state ON doctor (state, user_id)`);
  }
}
