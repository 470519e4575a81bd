import { sayOfRefusal } from './say.ts';
import type { World } from './world.ts';

/** The world after a call, and what of it is shown. */
export interface Decided {
  readonly world: World;
  readonly shows: (world: World) => string;
}

/** Thrown by a rule that forbids a call. */
export class Refused extends Error {
  readonly says: string;
  readonly offers: readonly string[] | undefined;
  constructor(reason: string, tells: Readonly<Record<string, string | number>> = {}, offers?: readonly string[]) {
    super(reason);
    this.says = sayOfRefusal(reason, tells);
    this.offers = offers;
  }
}
