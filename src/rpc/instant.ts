import type { Timestamp } from '@bufbuild/protobuf/wkt';

/** A timestamp as a Date: to the millisecond, rounded up within its second, so that what isn't a whole minute doesn't become one. */
export function instant(time: Timestamp): Date;
export function instant(time: Timestamp | undefined): Date | undefined;
export function instant(time: Timestamp | undefined): Date | undefined {
  return time && new Date(Number(time.seconds) * 1000 + Math.min(Math.ceil(time.nanos / 1_000_000), 999));
}
