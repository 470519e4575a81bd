import { Migration } from '@mikro-orm/migrations';

/**
 * Mails to be sent and what became of them, with neither address nor body: both are made when a mail is sent. Of its tokens
 * only the hash is kept; each try at sending makes one, and any of them will do. A booking has one reminder for each start.
 */
export class Mail extends Migration {
  override up(): void {
    this.addSql(`ALTER TABLE app_user ADD COLUMN email_verified_at timestamptz`);
    this.addSql(`
      CREATE TABLE mail (
        id uuid PRIMARY KEY,
        kind text NOT NULL CHECK (kind IN ('VERIFICATION', 'PASSWORD_RESET', 'REMINDER')),
        user_id uuid NOT NULL REFERENCES app_user (id),
        booking_id uuid REFERENCES booking (id),
        start_at timestamptz,
        state text NOT NULL CHECK (state IN ('QUEUED', 'SENT', 'FAILED', 'DROPPED')),
        attempts integer NOT NULL CHECK (attempts >= 0),
        due_at timestamptz NOT NULL,
        expires_at timestamptz NOT NULL,
        created_at timestamptz NOT NULL,
        ended_at timestamptz,
        CHECK ((kind = 'REMINDER') = (booking_id IS NOT NULL)),
        CHECK ((booking_id IS NULL) = (start_at IS NULL)),
        CHECK ((state = 'QUEUED') = (ended_at IS NULL)),
        CONSTRAINT mail_one_reminder UNIQUE (booking_id, start_at)
      ) WITH (fillfactor = 80)`);
    this.addSql(`CREATE INDEX mail_by_user ON mail (user_id, kind, created_at)`);
    this.addSql(`CREATE INDEX mail_due ON mail ((kind = 'REMINDER'), due_at) WHERE state = 'QUEUED'`);
    this.addSql(`CREATE INDEX mail_by_creation ON mail (created_at)`);
    this.addSql(`
      CREATE TABLE mail_token (
        token_hash bytea PRIMARY KEY CHECK (length(token_hash) = 32),
        mail_id uuid NOT NULL REFERENCES mail (id) ON DELETE CASCADE,
        expires_at timestamptz NOT NULL
      )`);
    this.addSql(`CREATE INDEX mail_token_by_mail ON mail_token (mail_id)`);
  }
}
