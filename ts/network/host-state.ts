import { existsSync, readdirSync } from 'node:fs';
import { readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { defaultRuntimeDir } from '../config/directories.js';
import type { Egress } from '../config/egress.js';
import type { NetworkAttachment, NetworkDefinition } from '../config/network.js';
import type { PublishedPort } from '../config/publish.js';
import { writeFileAtomic } from '../util/atomic-file.js';
import { readBoundedTextSync } from '../util/bounded-file.js';
import { type Holder, isSameHolder } from '../util/holder.js';
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
export function hostFolders(root: string = defaultRuntimeDir()) {
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

/**
 * From now on it is nobody's.
 * @returns the record as it was last written, for others may have changed it; undefined where there is nothing of it
 */
export async function markGoing(record: AttachmentRecord): Promise<AttachmentRecord | undefined> {
  const path = pathOf(record, GOING);
  await rename(pathOf(record, LIVE), path).catch(ifAbsent);
  return readJson<AttachmentRecord>(path) ?? (existsSync(path) ? record : undefined);
}

/** The record of an interface as it is now; undefined where it is another VM's by now, or nobody's. */
export function currentAttachment(record: AttachmentRecord): AttachmentRecord | undefined {
  const found = [LIVE, GOING].map((ending) => readJson<AttachmentRecord>(pathOf(record, ending)));
  return found.find((one) => one !== undefined && isSameHolder(one.holder, record.holder));
}

export async function forgetAttachment(record: AttachmentRecord): Promise<void> {
  await rm(pathOf(record, GOING), { force: true });
}

/** @param withGoing also those whose undoing has begun, by whoever may have died over it */
export async function readAttachments({ withGoing = false } = {}): Promise<AttachmentRecord[]> {
  const { attachments } = hostFolders();
  const files = await listed(attachments);
  const wanted = files.filter((file) => file.endsWith(LIVE) || (withGoing && file.endsWith(GOING)));
  return wanted.flatMap((file) => readJson<AttachmentRecord>(join(attachments, file)) ?? []);
}

export async function readActive(): Promise<NetworkDefinition[]> {
  const { active } = hostFolders();
  const files = (await listed(active)).filter((file) => file.endsWith(LIVE)).toSorted();
  return files.flatMap((file) => readJson<NetworkDefinition>(join(active, file)) ?? []);
}

/** Whether programs that keep what they know in `root` may have networks up: what they make is on record before. */
export function mayHaveNetworks(root: string): boolean {
  const { attachments, active } = hostFolders(root);
  const isRecord = (file: string) => file.endsWith(LIVE) || file.endsWith(GOING);
  const hasRecords = (folder: string) => {
    try {
      return readdirSync(folder).some(isRecord);
    } catch (error) {
      return (error as NodeJS.ErrnoException).code !== 'ENOENT';
    }
  };
  return !existsSync(root) || hasRecords(attachments) || hasRecords(active); // without it, nobody can tell
}

export async function writeActive(definition: NetworkDefinition): Promise<void> {
  await writeFileAtomic(join(hostFolders().active, `${definition.name}${LIVE}`), JSON.stringify(definition));
}

export async function forgetActive(name: string): Promise<void> {
  await rm(join(hostFolders().active, `${name}${LIVE}`), { force: true });
}

/**
 * Files of our own in a directory of this user alone; one that is damaged, or has just gone, says nothing. That a program has no
 * descriptor left to read it with is no such word.
 */
export function readJson<T>(path: string): T | undefined {
  try {
    return parseSafeJson(readBoundedTextSync(path, MAX_BYTES)) as T;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return typeof code === 'string' && /^E[A-Z]+$/.test(code) ? ifAbsent(error as NodeJS.ErrnoException) : undefined;
  }
}

async function listed(directory: string): Promise<string[]> {
  return (await readdir(directory).catch(ifAbsent)) ?? [];
}

function ifAbsent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') {
    throw error;
  }
}

function pathOf({ wire }: AttachmentRecord, ending: string): string {
  return join(hostFolders().attachments, `${wire.tapName}${ending}`);
}
