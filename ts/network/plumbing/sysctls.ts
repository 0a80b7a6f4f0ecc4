import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SmartVMError } from '../../errors.js';
import { writeFileAtomic } from '../../util/atomic-file.js';
import { currentBootId } from '../../util/process-identity.js';
import { hostFolders, readJson } from '../host-state.js';

/** What the kernel was told before: by path below /proc/sys/net. */
interface Before {
  readonly bootId: string;
  readonly values: Readonly<Record<string, string>>;
}

const ROOT = '/proc/sys/net';
const IPV4 = 'ipv4/ip_forward';
const IPV6 = 'ipv6/conf/all/forwarding';

/**
 * Lets the host forward, where it does not. What was there is written down first, and restored by {@link restoreForwarding}. A host
 * that takes its own IPv6 route from router advertisements goes on doing so, which forwarding alone would end.
 * @param via the interface by which VMs leave against the host's own routes: answers that come by it are not to be taken for forged
 * @throws SmartVMError NETWORK_FAILED where /proc/sys cannot be written, FILE_WRITE_FAILED
 */
export async function enableForwarding({ ipv6, via }: { ipv6: boolean; via?: string | undefined }): Promise<void> {
  const wanted = [
    ...changeOf(IPV4, '1'),
    ...(ipv6 ? ipv6Changes() : []),
    ...(via === undefined ? [] : reversePathChanges(via)),
  ];
  if (wanted.length === 0) {
    return;
  }
  const path = hostFolders().sysctls;
  const known = beforeOf(path);
  const values = { ...Object.fromEntries(wanted.map(({ name, before }) => [name, before])), ...known?.values };
  await writeFileAtomic(path, JSON.stringify({ bootId: currentBootId(), values } satisfies Before));
  for (const { name, after } of wanted) {
    write(name, after);
  }
}

/** Undoes what {@link enableForwarding} did. What somebody has changed since stays as it is. */
export async function restoreForwarding(): Promise<void> {
  const path = hostFolders().sysctls;
  const values = Object.entries(beforeOf(path)?.values ?? {});
  // Forwarding first: it resets what hosts and routers do differently.
  for (const [name, before] of values.toSorted(([a]) => (a.endsWith('accept_ra') ? 1 : -1))) {
    if (read(name) === (/(accept_ra|rp_filter)$/.test(name) ? '2' : '1')) {
      write(name, before);
    }
  }
  await rm(path, { force: true });
}

interface Change {
  readonly name: string;
  readonly before: string;
  readonly after: string;
}

function changeOf(name: string, after: string): Change[] {
  const before = read(name);
  return before === undefined || before === after ? [] : [{ name, before, after }];
}

function ipv6Changes(): Change[] {
  const forwarding = changeOf(IPV6, '1');
  if (forwarding.length === 0) {
    return [];
  }
  const interfaces = readdirSync(join(ROOT, 'ipv6/conf')).map((name) => `ipv6/conf/${name}/accept_ra`);
  const listening = interfaces.filter((name) => read(name) === '1' && !/\/(all|default|lo)\//.test(name));
  return [...listening.flatMap((name) => changeOf(name, '2')), ...forwarding];
}

/** Of this one and that of `all`, the greater holds: 1 is strict, 2 is loose. */
function reversePathChanges(via: string): Change[] {
  const name = `ipv4/conf/${via}/rp_filter`;
  const isStrict = [read(name), read('ipv4/conf/all/rp_filter')].toSorted().at(-1) === '1';
  return isStrict ? changeOf(name, '2') : [];
}

function beforeOf(path: string): Before | undefined {
  const before = readJson<Before>(path);
  return before?.bootId === currentBootId() ? before : undefined;
}

/** Undefined for an interface that has gone, and for IPv6 where the kernel has none. */
function read(name: string): string | undefined {
  try {
    return readFileSync(join(ROOT, name), 'utf8').trim();
  } catch {
    return undefined;
  }
}

function write(name: string, value: string): void {
  try {
    writeFileSync(join(ROOT, name), value);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') {
      return;
    }
    throw new SmartVMError('NETWORK_FAILED', `cannot write ${ROOT}/${name}: ${(cause as Error).message}`, { cause });
  }
}
