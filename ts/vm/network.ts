import { USER_NETWORKS } from '../config/ids.js';
import type { NetworkAttachment } from '../config/network.js';
import type { PublishedPort } from '../config/publish.js';
import type { IRestoreOptions } from '../config/restore.js';
import type { INetworkInterfaceConfig } from '../config/types.js';
import type { Publication } from '../vmm/published-ports.js';
import type { BootContext } from './boot-context.js';
import { reclaimPredecessor } from './predecessor.js';

/** What a VM has of networks: addresses from the first, interfaces once they are plumbed. */
export interface VmConnection {
  readonly attachments: readonly NetworkAttachment[];
  readonly interfaces: readonly (INetworkInterfaceConfig & { hostDevName: string })[];
  /** The network namespace in which the VMM finds them; undefined: this program's. */
  readonly namespace: string | undefined;
  readonly plumb: (signal: AbortSignal) => Promise<void>;
  /** What is to lead to it; undefined: nothing. */
  readonly publication: Publication | undefined;
  /** Lets in what comes from outside to ports of the host that have been bound. */
  readonly published: (ports: readonly PublishedPort[]) => Promise<void>;
  readonly release: () => Promise<void>;
}

/** Takes what the VM is to have of networks. */
export type Connect = (signal: AbortSignal) => Promise<VmConnection>;

/** Addresses are known before the VM has a directory, for its record and its guest are told of them. */
export async function takeAddresses(context: BootContext, signal: AbortSignal): Promise<void> {
  if (!context.connect) {
    return;
  }
  await reclaimPredecessor(context);
  const connection = await context.connect(signal);
  context.cleanup.push('network', () => connection.release());
  context.connection = connection;
}

/** Makes interfaces and rules. Each is written down before. */
export async function plumbNetwork({ connection }: BootContext, signal: AbortSignal): Promise<void> {
  await connection?.plumb(signal);
}

/** The configured interfaces, those of networks bound to what was made for them, and those of which the configuration says nothing. */
export function interfacesOf({ config, connection }: BootContext): INetworkInterfaceConfig[] {
  const configured = config.config.networkInterfaces ?? [];
  const made = connection?.interfaces ?? [];
  const others = made.filter(({ ifaceId }) => !configured.some((one) => one.ifaceId === ifaceId));
  const bound = configured.map((one) => ({ ...one, ...made.find(({ ifaceId }) => ifaceId === one.ifaceId) }));
  return [...bound, ...others];
}

/** A restored guest has its interfaces already; the TAPs behind them are others now. */
export function restoreOf({ restore, connection }: BootContext): IRestoreOptions | undefined {
  const made = connection?.interfaces.map(({ ifaceId, hostDevName }) => ({ ifaceId, hostDevName })) ?? [];
  return restore && made.length > 0
    ? { ...restore, networkOverrides: [...(restore.networkOverrides ?? []), ...made] }
    : restore;
}

/** What the VMM opens of the host's network, for its jail. */
export function jailNetwork(context: BootContext) {
  const { connection, restore } = context;
  const names = [...interfacesOf(context), ...(restore?.networkOverrides ?? [])].flatMap(
    ({ hostDevName }) => hostDevName ?? [],
  );
  const made = connection?.interfaces.map(({ hostDevName }) => hostDevName) ?? [];
  const isUser = (name: string) => USER_NETWORKS.some((user) => user === name);
  return {
    taps: names.filter((name) => !made.includes(name) && !isUser(name)),
    lentTaps: connection?.namespace === undefined ? made.filter((name) => !isUser(name)) : [],
    networkNamespace: connection?.namespace === undefined ? undefined : `/run/netns/${connection.namespace}`,
    // What the VMM says for its guest, it says from the host.
    needsHostNetwork: names.some((name) => name === USER_NETWORKS[0]),
  };
}
