import { join } from 'node:path';
import { defaultRuntimeDir } from '../../config/directories.js';
import { isRecord } from '../../config/validation/checks.js';
import { isSmartVMError } from '../../errors.js';
import { delay } from '../../util/deadline.js';
import { run } from '../../util/run.js';
import { parseSafeJson } from '../../util/safe-json.js';
import { type Check, fail, info, ok, type Result, warn } from '../finding.js';
import type { Host } from '../host.js';
import { messageOf, nftOf } from './network.js';

export const NETWORK_RULES: Check = {
  id: 'network-rules',
  area: 'network',
  title: 'Rules for VMs',
  about:
    'Each interface of a VM in a network of this host is there, with its bridge and its rules. Fails where somebody has flushed the rules: the guest is held back by nothing. `smartvm network inspect` makes them again.',
  run: checkRules,
};

/** An interface of a VM, as the files say that it is. */
interface Wire {
  readonly vm: string;
  readonly network: string;
  readonly bridge: string;
  readonly port: string;
}

const KINDS = ['unguarded', 'apart', 'gone'] as const;

interface Fault {
  readonly kind: (typeof KINDS)[number];
  readonly wire: Wire;
}

async function checkRules(host: Host): Promise<Result | readonly Result[]> {
  const wires = await wiresOf(host);
  if (wires.length === 0) {
    return ok('no VM has an interface in a network of this host');
  }
  const nft = host.isRoot ? await nftOf(host) : undefined;
  if (nft === undefined) {
    return info('whether the rules of VMs are in place is to be learnt by root alone, with nft');
  }
  try {
    const faults = await lastingFaults(host, nft, wires);
    return faults.length > 0 ? findingsOf(faults) : ok(`in place for ${idsOf(wires)}`);
  } catch (error) {
    return info(`whether the rules of VMs are in place is not to be learnt: ${messageOf(error)}`);
  }
}

/** VMs come and go while this looks: something is wrong where it is found twice. */
async function lastingFaults(host: Host, nft: string, wires: readonly Wire[]): Promise<Fault[]> {
  const first = await faultsOf(host, nft, wires);
  if (first.length === 0) {
    return [];
  }
  await delay(SECOND_LOOK_MS);
  const second = (await faultsOf(host, nft, await wiresOf(host))).map((fault) => JSON.stringify(fault));
  return first.filter((fault) => second.includes(JSON.stringify(fault)));
}

async function faultsOf(host: Host, nft: string, wires: readonly Wire[]): Promise<Fault[]> {
  const guarded = await portsWithRules(host, nft);
  const links = await host.list('/sys/class/net');
  return wires.flatMap((wire) => {
    const isThere = links.includes(wire.port);
    const is: Readonly<Record<Fault['kind'], boolean>> = {
      unguarded: isThere && !guarded.has(wire.port),
      apart: isThere && !links.includes(wire.bridge),
      gone: !isThere,
    };
    return KINDS.filter((kind) => is[kind]).map((kind) => ({ kind, wire }));
  });
}

function findingsOf(faults: readonly Fault[]): Result[] {
  const wiresWith = (wanted: Fault['kind']) => faults.filter(({ kind }) => kind === wanted).map(({ wire }) => wire);
  const repair = (of: readonly Wire[]) =>
    [...new Set(of.map(({ network }) => `smartvm network inspect ${network}`))].join('; ');
  const [unguarded, apart, gone] = [wiresWith('unguarded'), wiresWith('apart'), wiresWith('gone')];
  return [
    ...(unguarded.length > 0
      ? [fail(`somebody has removed the rules of ${idsOf(unguarded)}: nothing holds these back`, repair(unguarded))]
      : []),
    ...(apart.length > 0
      ? [warn(`somebody has removed the bridge of ${idsOf(apart)}: they reach nothing`, repair(apart))]
      : []),
    ...(gone.length > 0
      ? [warn(`somebody has removed interfaces of ${idsOf(gone)}: they are cut off`, 'start these VMs anew')]
      : []),
  ];
}

const idsOf = (wires: readonly Wire[]) => [...new Set(wires.map(({ vm }) => vm))].toSorted().join(', ');

/** Of the records that all programs of the host share. */
async function wiresOf(host: Host): Promise<Wire[]> {
  const folder = join(defaultRuntimeDir(), '.networks', 'attachments');
  const names = (await host.list(folder)).filter((name) => name.endsWith('.json'));
  const texts = await Promise.all(names.map((name) => host.read(join(folder, name))));
  return texts.flatMap((text) => wireOf(text ?? '') ?? []);
}

/** Undefined for a file that has just gone, or is damaged. */
function wireOf(text: string): Wire | undefined {
  try {
    const { holder, definition, wire } = parseSafeJson(text) as Record<string, unknown>;
    if (isRecord(holder) && isRecord(definition) && isRecord(wire)) {
      const [vm, network, bridge, port] = [holder.id, definition.name, definition.bridge, wire.tapName].map(String);
      return { vm, network, bridge, port } as Wire;
    }
  } catch {}
  return undefined;
}

/** Ports of bridges whose frames are checked. @throws SmartVMError TOOL_FAILED, TOOL_MISSING, CANCELED */
async function portsWithRules(host: Host, nft: string): Promise<ReadonlySet<string>> {
  const args = ['-j', 'list', 'set', 'bridge', 'smartvm', 'ports'];
  try {
    const listing = (await run(host.at(nft), args, { signal: AbortSignal.timeout(NFT_TIMEOUT_MS) })).toString();
    const { nftables } = JSON.parse(listing) as { nftables: { set?: { elem?: string[] } }[] };
    return new Set(nftables.flatMap(({ set }) => set?.elem ?? []));
  } catch (error) {
    if (isSmartVMError(error, 'TOOL_FAILED') && error.message.includes('No such file or directory')) {
      return new Set(); // there is no such table
    }
    throw error;
  }
}

const NFT_TIMEOUT_MS = 5_000;
/** What an interface takes, on a busy host, to be there whole, from when it is on record. */
const SECOND_LOOK_MS = 500;
