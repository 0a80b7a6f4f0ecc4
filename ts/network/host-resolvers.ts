import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';

/** Where systemd-resolved, whose own address is the host's loopback, says whom it asks. */
const FILES = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'];
/** resolv.conf(5): more are not asked. */
const MOST = 3;

/** The resolvers of this host that are not on its loopback, which is a guest's own. */
export function hostResolvers(): readonly string[] {
  const lists = FILES.map((file) => resolversIn(textOf(file)));
  return lists.find((list) => list.length > 0) ?? [];
}

export function resolversIn(text: string): string[] {
  const named = [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].map(([, address = '']) => address);
  return named.filter((address) => isIP(address) !== 0 && !/^(127\.|::1$)/.test(address)).slice(0, MOST);
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
