import { join } from 'node:path';
import { defaultRuntimeDir } from '../../config/directories.js';
import { isRecord } from '../../config/validation/checks.js';
import { run } from '../../util/run.js';
import { parseSafeJson } from '../../util/safe-json.js';
import { type Check, fail, info, ok, type Result, warn } from '../finding.js';
import type { Host } from '../host.js';
import { nftOf } from './network.js';

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

async function checkRules(host: Host): Promise<Result | readonly Result[]> {
  const wires = await wiresOf(host);
  if (wires.length === 0) {
    return ok('no VM has an interface in a network of this host');
  }
  const guarded = host.isRoot ? await portsWithRules(host) : undefined;
  if (guarded === undefined) {
    return info('whether the rules of VMs are in place is to be learnt by root alone, with nft');
  }
  const links = await host.list('/sys/class/net');
  const isThere = ({ port }: Wire) => links.includes(port);
  const repair = (of: readonly Wire[]) =>
    [...new Set(of.map(({ network }) => `smartvm network inspect ${network}`))].join('; ');
  const open = wires.filter((wire) => isThere(wire) && !guarded.has(wire.port));
  const apart = wires.filter((wire) => isThere(wire) && !links.includes(wire.bridge));
  const gone = wires.filter((wire) => !isThere(wire));
  const found = [
    ...(open.length > 0
      ? [fail(`somebody has removed the rules of ${idsOf(open)}: nothing holds these back`, repair(open))]
      : []),
    ...(apart.length > 0
      ? [warn(`somebody has removed the bridge of ${idsOf(apart)}: they reach nothing`, repair(apart))]
      : []),
    ...(gone.length > 0
      ? [warn(`somebody has removed interfaces of ${idsOf(gone)}: they are cut off`, 'start these VMs anew')]
      : []),
  ];
  return found.length > 0 ? found : ok(`in place for ${idsOf(wires)}`);
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

/** Ports of bridges whose frames are checked; undefined where there is no nft to ask. */
async function portsWithRules(host: Host): Promise<ReadonlySet<string> | undefined> {
  const nft = await nftOf(host);
  if (nft === undefined) {
    return undefined;
  }
  try {
    const args = ['-j', 'list', 'set', 'bridge', 'smartvm', 'ports'];
    const listing = (await run(host.at(nft), args, { signal: AbortSignal.timeout(NFT_TIMEOUT_MS) })).toString();
    const { nftables } = JSON.parse(listing) as { nftables: { set?: { elem?: string[] } }[] };
    return new Set(nftables.flatMap(({ set }) => set?.elem ?? []));
  } catch {
    return new Set(); // there is no such table
  }
}

const NFT_TIMEOUT_MS = 5_000;
