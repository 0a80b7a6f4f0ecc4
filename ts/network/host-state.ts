import { existsSync } from 'node:fs';
import { readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { defaultRuntimeDir } from '../config/directories.js';
import type { Egress } from '../config/egress.js';
import type { NetworkAttachment, NetworkDefinition } from '../config/network.js';
import type { PublishedPort } from '../config/publish.js';
import { writeFileAtomic } from '../util/atomic-file.js';
import { readBoundedTextSync } from '../util/bounded-file.js';
import type { Holder } from '../util/holder.js';
import { ensurePrivateDirectory } from '../util/private-directory.js';
import { parseSafeJson } from '../util/safe-json.js';

/** One interface of a VM in a network, as every program of the host has to know it. It is written before what it names is made. */
export interface AttachmentRecord {
  readonly version: 1;
  readonly holder: Holder;
  readonly definition: NetworkDefinition;
  /** What the VM has. */
  readonly attachment: NetworkAttachment;
  /** What the host has of it: the same, but where the VM's own address is not the network's. */
  readonly wire: NetworkAttachment;
  readonly egress: Egress;
  readonly ports: readonly PublishedPort[];
  /** Whether the TAP has several queues. */
  readonly multiQueue: boolean;
  /** The network namespace in which the TAP is. */
  readonly namespace?: string | undefined;
}

const MAX_BYTES = 1 << 20;
const LIVE = '.json';
/** An attachment that is being undone: it counts for nothing but its own undoing. */
const GOING = '.going';

/** Where programs of this host keep what they know of its networks: by default the same for all, wherever they have their VMs. */
export function hostFolders() {
  const root = defaultRuntimeDir();
  const networks = join(root, '.networks');
  return {
    leases: join(root, '.leases', 'network'),
    locks: join(networks, 'locks'),
    attachments: join(networks, 'attachments'),
    /** Definitions of the networks that are up. */
    active: join(networks, 'active'),
    sysctls: join(networks, 'sysctls.json'),
    all: [root, join(root, '.leases'), join(root, '.leases', 'network'), networks],
  };
}

/** @throws SmartVMError DIRECTORY_UNSAFE, FILE_WRITE_FAILED */
export async function makeHostFolders(): Promise<void> {
  const { all, locks, attachments, active } = hostFolders();
  for (const path of [...all, locks, attachments, active]) {
    await ensurePrivateDirectory(path);
  }
}

/** @throws SmartVMError FILE_WRITE_FAILED */
export async function writeAttachment(record: AttachmentRecord): Promise<void> {
  await writeFileAtomic(pathOf(record, LIVE), JSON.stringify(record));
}

/** From now on it is nobody's. @returns false where there is nothing of it */
export async function markGoing(record: AttachmentRecord): Promise<boolean> {
  const path = pathOf(record, GOING);
  return await rename(pathOf(record, LIVE), path).then(
    () => true,
    () => existsSync(path),
  );
}

export async function forgetAttachment(record: AttachmentRecord): Promise<void> {
  await rm(pathOf(record, GOING), { force: true });
}

/** @param withGoing also those whose undoing has begun, by whoever may have died over it */
export async function readAttachments({ withGoing = false } = {}): Promise<AttachmentRecord[]> {
  const { attachments } = hostFolders();
  const files = await readdir(attachments).catch(() => []);
  const wanted = files.filter((file) => file.endsWith(LIVE) || (withGoing && file.endsWith(GOING)));
  return wanted.flatMap((file) => readJson<AttachmentRecord>(join(attachments, file)) ?? []);
}

export async function readActive(): Promise<NetworkDefinition[]> {
  const { active } = hostFolders();
  const files = (await readdir(active).catch(() => [])).filter((file) => file.endsWith(LIVE)).toSorted();
  return files.flatMap((file) => readJson<NetworkDefinition>(join(active, file)) ?? []);
}

export async function writeActive(definition: NetworkDefinition): Promise<void> {
  await writeFileAtomic(join(hostFolders().active, `${definition.name}${LIVE}`), JSON.stringify(definition));
}

export async function forgetActive(name: string): Promise<void> {
  await rm(join(hostFolders().active, `${name}${LIVE}`), { force: true });
}

/** Files of our own in a directory of this user alone; one that is damaged, or has just gone, says nothing. */
export function readJson<T>(path: string): T | undefined {
  try {
    return parseSafeJson(readBoundedTextSync(path, MAX_BYTES)) as T;
  } catch {
    return undefined;
  }
}

function pathOf({ wire }: AttachmentRecord, ending: string): string {
  return join(hostFolders().attachments, `${wire.tapName}${ending}`);
}
