import { isIPv6 } from 'node:net';

/**
 * What counts as one client among addresses: an IPv4 address itself; of an IPv6 address the first 64 bits, as
 * `2001:db8:0:1::/64`, of which a single customer has all the rest. Anything else comes back as it is.
 */
export function networkOf(address: string): string {
  return isIPv6(address) ? `${prefix64(address)}::/64` : address;
}

/** The first four groups, without leading zeros. URL knows the short form of each, with at most one `::`. */
function prefix64(address: string): string {
  const short = new URL(`http://[${address.replace(/%.*$/, '')}]`).hostname.slice(1, -1);
  const [before = '', after] = short.split('::').map((half) => (half ? half.split(':') : [])) as [string[], string[]?];
  const zeros = after ? Array<string>(8 - before.length - after.length).fill('0') : [];
  return [...before, ...zeros, ...(after ?? [])].slice(0, 4).join(':');
}
