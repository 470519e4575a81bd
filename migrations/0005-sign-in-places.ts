import { Migration } from '@mikro-orm/migrations';

/**
 * From where an account was signed in to, or tried: wrong passwords make tries from the same place wait, not those of
 * the account's owner from another. `app_user.sign_in_blocked_until` is no longer read.
 */
export class SignInPlaces extends Migration {
  override up(): void {
    this.addSql(`
      CREATE TABLE sign_in_place (
        id uuid PRIMARY KEY,
        user_id uuid NOT NULL REFERENCES app_user (id),
        network text NOT NULL,
        failures integer NOT NULL CHECK (failures >= 0),
        blocked_until timestamptz,
        signed_in_at timestamptz,
        seen_at timestamptz NOT NULL
      ) WITH (fillfactor = 80)`);
    this.addSql(`CREATE UNIQUE INDEX sign_in_place_of_user ON sign_in_place (user_id, network)`);
  }
}
