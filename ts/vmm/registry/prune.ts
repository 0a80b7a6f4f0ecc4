import { rm } from 'node:fs/promises';
import { SmartVMError } from '../../errors.js';
import { endedAt, hasGivenBack, oldestExited, staysExited } from './exited.js';
import { deadLeases } from './leases.js';
import { mountsBelow } from './mounts.js';
import { deadNames } from './names.js';
import { deadAttachments, deadNetworkLeases } from './network-remnants.js';
import { abandonedFolders } from './passing-folder.js';
import { type Extent, lockReclaim, reclaimLocked } from './reclaim.js';
import { type Remnant, remnantsOf } from './remnants.js';
import { type RecordEntry, scanRecords, type UnreadableEntry } from './scan.js';
import { standingOf } from './standing.js';

export interface PruneOptions {
  /** Only says what would be undone. Default false. */
  dryRun?: boolean | undefined;
  /** Exited VMs that ended later stay to be read. Default: none does. */
  exitedBefore?: Date | undefined;
}

/** Something that a dead VM had, or a program that died in the middle of making or removing one. */
export interface PrunedThing {
  /** `image-…`: what no image has any more, and what is left of builds and transfers. */
  readonly kind:
    | Remnant['kind']
    | 'image-part'
    | 'image-layer'
    | 'image-build'
    | 'image-transfer'
    | 'image-damaged'
    | 'temporary-file';
  readonly name: string;
}

export interface PrunedVm {
  readonly id: string;
  readonly path: string;
  /** Whether it had ended by itself, and stayed to be read: its console and how it ended go with it. */
  readonly exited: boolean;
  /** In the order in which they are undone. */
  readonly things: readonly PrunedThing[];
  /** CLEANUP_FAILED: some of it is left, and is tried again by the next. */
  readonly error?: SmartVMError;
}

export interface PruneReport {
  readonly vms: readonly PrunedVm[];
  /** What belongs to no VM's directory any more, and to no image. */
  readonly others: readonly PrunedThing[];
  /** Directories that are left alone: nothing can be said of them. */
  readonly unreadable: readonly UnreadableEntry[];
}

/**
 * Undoes what dead VMs have left below a runtime directory, exited ones with all that can be read of them, and the leases that nobody
 * holds.
 */
export async function prune(
  runtimeRoot: string,
  { dryRun = false, exitedBefore }: PruneOptions = {},
): Promise<PruneReport> {
  const extentOf = async (entry: RecordEntry): Promise<Extent> =>
    exitedBefore && (await endedAt(entry)) >= exitedBefore.getTime() ? 'holdings' : 'all';
  const { vms, others, unreadable } = await pruneDirectories(runtimeRoot, async () => extentOf, dryRun);
  // Those of the VMs are gone with them, or in their lists.
  const known = new Set(vms.flatMap(({ things }) => things.map(nameOf)));
  const dead = [...(await deadLeases()), ...(await deadNetworkLeases()), ...(await deadNames(runtimeRoot))];
  const leases = dead.filter((lease) => !known.has(nameOf(lease)));
  if (!dryRun) {
    await Promise.all(leases.map((lease) => lease.remove()));
  }
  return { vms, others: [...others, ...leases.map(plain)], unreadable };
}

/** Each takes some MiB at most of a directory that is often in memory; and whoever lists VMs reads of each. */
const MAX_EXITED = 100;

/**
 * As {@link prune}, without the leases, which whoever needs one takes from the dead, and without that of exited VMs which can be
 * read, unless so many have ended since that nobody will. When there is nothing, it costs a look.
 * @param kept how many exited VMs stay
 */
export async function sweep(runtimeRoot: string, kept = MAX_EXITED): Promise<PruneReport> {
  return await pruneDirectories(runtimeRoot, async (entries) => {
    const surplus = new Set(await oldestExited(entries, kept));
    return async (entry) => (surplus.has(entry) ? 'all' : 'holdings');
  });
}

type ExtentOf = (entry: RecordEntry) => Promise<Extent>;

async function pruneDirectories(
  runtimeRoot: string,
  choose: (entries: readonly RecordEntry[]) => Promise<ExtentOf>,
  dryRun = false,
): Promise<PruneReport> {
  const { records: all, unreadable } = await scanRecords(runtimeRoot);
  const records = await toLookAt(all, await choose(all));
  const standings = await Promise.all(records.map(({ runtimeDir, record }) => standingOf(runtimeDir, record)));
  const dead = records.filter((_record, index) => standings[index] === 'dead');
  const abandoned = await abandonedFolders(runtimeRoot);
  const attachments = await deadAttachments();
  if (dryRun || dead.length + abandoned.length + attachments.length === 0) {
    const vms = await Promise.all(dead.map(plan));
    return { vms, others: notOf(vms, [...abandoned.map(folderOf), ...attachments.map(plain)]), unreadable };
  }
  await using _lock = await lockReclaim(runtimeRoot);
  const vms: PrunedVm[] = [];
  for (const entry of dead) {
    vms.push(await undo(entry));
  }
  // Of VMs whose directories are gone already.
  for (const attachment of await deadAttachments()) {
    await attachment.remove();
  }
  for (const folder of abandoned) {
    if ((await mountsBelow(folder)).length === 0) {
      await rm(folder, { recursive: true, force: true });
    }
  }
  const others = notOf(vms, [...abandoned.map(folderOf), ...attachments.map(plain)]);
  return { vms: vms.filter(({ things, error }) => things.length > 0 || error), others, unreadable };
}

/** What is in no VM's list. */
function notOf(vms: readonly PrunedVm[], things: readonly PrunedThing[]): PrunedThing[] {
  const known = new Set(vms.flatMap((vm) => vm.things.map(nameOf)));
  return things.filter((thing) => !known.has(nameOf(thing)));
}

type Candidate = RecordEntry & { readonly extent: Extent };

/** Without those that stay as they are: there may be many. */
async function toLookAt(entries: readonly RecordEntry[], extentOf: ExtentOf): Promise<Candidate[]> {
  const candidates = await Promise.all(entries.map(async (entry) => ({ ...entry, extent: await extentOf(entry) })));
  return candidates.filter(({ runtimeDir, extent }) => extent === 'all' || !hasGivenBack(runtimeDir));
}

async function plan(candidate: Candidate): Promise<PrunedVm> {
  const { runtimeDir, record, extent } = candidate;
  const exited = await staysExited(candidate);
  const things = (await remnantsOf(candidate, exited && extent === 'holdings')).map(plain);
  return { id: record.id, path: runtimeDir, exited: exited && extent === 'all', things };
}

async function undo(candidate: Candidate): Promise<PrunedVm> {
  const { runtimeDir, record, extent } = candidate;
  const exited = extent === 'all' && (await staysExited(candidate));
  const vm = { id: record.id, path: runtimeDir, exited };
  try {
    return { ...vm, things: (await reclaimLocked(runtimeDir, record, extent)).map(plain) };
  } catch (error) {
    if (error instanceof SmartVMError) {
      return { ...vm, things: [], error };
    }
    throw error;
  }
}

const folderOf = (name: string): PrunedThing => ({ kind: 'directory', name });
const plain = ({ kind, name }: Remnant): PrunedThing => ({ kind, name });
const nameOf = ({ kind, name }: PrunedThing) => `${kind} ${name}`;
