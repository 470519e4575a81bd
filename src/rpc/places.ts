/** Takes a place; the function it returns gives it back, undefined says that there is none. Absent: somebody who is many. */
export type TakePlace = (client: string | undefined) => (() => void) | undefined;

/** Hands out places: `all` in sum, and `each` to one client. Who stands for many clients is bounded by the sum alone. */
export function places({ all, each }: { readonly all: number; readonly each: number }): TakePlace {
  const held = new Map<string, number>();
  let taken = 0;
  const leave = (client: string) => {
    const left = (held.get(client) ?? 1) - 1;
    if (left > 0) held.set(client, left);
    else held.delete(client);
  };
  return (client) => {
    const own = client === undefined ? 0 : (held.get(client) ?? 0);
    if (taken >= all || own >= each) return undefined;
    taken += 1;
    if (client !== undefined) held.set(client, own + 1);
    let given = false;
    return () => {
      if (given) return;
      given = true;
      taken -= 1;
      if (client !== undefined) leave(client);
    };
  };
}
