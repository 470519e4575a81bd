import { BlockList, isIP } from 'node:net';
import { LRUCache } from 'lru-cache';

/** The address of the client behind `peer`, given the x-forwarded-for header that came with the call. */
export type ClientAddress = (peer: string, forwardedFor: string | null) => string;

/** Of so many connections at once the client's address needs no looking at again. */
const PEERS = 5_000;

/**
 * Believes x-forwarded-for only as far as `trusted` proxies (addresses or CIDR ranges) wrote it: the answer is the
 * rightmost address that is not one of them. Throws on what is neither an address nor a range.
 */
export function clientAddress(trusted: readonly string[]): ClientAddress {
  const isProxy = isTrusted(trusted);
  const peers = new LRUCache<string, string>({ max: PEERS, memoMethod: (peer) => bareAddress(peer) ?? '' });
  return (peer, forwardedFor) => {
    let nearest = peers.memo(peer);
    if (forwardedFor === null || nearest === '') return nearest;
    const hops = forwardedFor.split(',');
    while (isProxy(nearest)) {
      const further = bareAddress(hops.pop()?.trim() ?? '');
      if (!further) break;
      nearest = further;
    }
    return nearest;
  };
}

/** Tells whether an address, as bareAddress has it, is one of `trusted`. Throws as clientAddress does. */
export function isTrusted(trusted: readonly string[]): (address: string) => boolean {
  const proxies = blockListOf(trusted);
  return (address) => proxies.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

function blockListOf(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = '', prefix, ...more] = range.split('/');
    if (more.length > 0) throw new Error(`${range} is no range of addresses`);
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    if (prefix === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(prefix), family);
  }
  return list;
}

/** An address without port, brackets and zone, IPv4 in its own form; undefined when it is none. */
export function bareAddress(text: string): string | undefined {
  const [, bracketed] = /^\[([^\]]+)\](?::\d+)?$/.exec(text) ?? [];
  const [, dotted] = /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(text) ?? [];
  const address = (bracketed ?? dotted ?? text).replace(/%.*$/, '').replace(/^::ffff:(?=\d+\.)/i, '');
  return isIP(address) ? address : undefined;
}
