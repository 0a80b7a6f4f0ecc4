import { join } from 'node:path';
import type { Egress } from '../config/egress.js';
import type { NetworkDefinition, NetworkRequest } from '../config/network.js';
import type { InterfaceCounters, NetworkEvent, WatchOptions } from '../config/network-events.js';
import { overlap, type PublishedPort } from '../config/publish.js';
import { SmartVMError } from '../errors.js';
import type { Holder } from '../util/holder.js';
import { lockLeases } from '../util/leases.js';
import { currentProcess } from '../util/process-identity.js';
import { NetworkConnection } from './connection.js';
import { DefinitionStore, type NetworkOptions } from './definition-store.js';
import { builtInNetworks, DEFAULT_NETWORK } from './definitions.js';
import { reconcile } from './fabric.js';
import { withFabricLock } from './fabric-lock.js';
import { type AttachmentRecord, hostFolders, makeHostFolders, readActive, readAttachments } from './host-state.js';
import { NetworkLeases } from './leases.js';
import { MODES } from './modes/modes.js';
import { ownerOf } from './plumbing/alias.js';
import { isNetAdmin } from './plumbing/ip.js';
import { undoDead } from './remnants.js';
import { changeRules, readCounters } from './rules.js';
import { countersOfInterface, watch } from './watch.js';

export interface NetworksOptions {
  /** Where definitions are kept. */
  readonly dataDir: string;
  /** Of the default network. */
  readonly bridge: string;
  readonly ipv4: string;
  /** False only for a VM that is proven dead. */
  readonly isHeld: (holder: Holder) => Promise<boolean>;
}

/** A network, and who is in it. */
export interface NetworkInspection {
  readonly definition: NetworkDefinition;
  /** Whether its bridge and rules are there. */
  readonly isUp: boolean;
  readonly attachments: readonly AttachmentRecord[];
  /** Interfaces of the host that somebody has removed: their VMs are cut off until they are started anew. */
  readonly missing: readonly string[];
}

/** What can be changed of an interface while its VM runs. */
export type AttachmentChange = Partial<Pick<AttachmentRecord, 'egress' | 'ports'>>;

export interface ConnectOptions {
  readonly ports?: readonly PublishedPort[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The networks of this host, and what VMs have of them. All programs of a user share them. */
export class Networks {
  readonly #options: NetworksOptions;
  readonly #store: DefinitionStore;

  constructor(options: NetworksOptions) {
    this.#options = options;
    const { bridge, ipv4, dataDir } = options;
    const isRoot = process.getuid?.() === 0;
    this.#store = new DefinitionStore(join(dataDir, 'networks'), builtInNetworks({ bridge, ipv4, isRoot }));
  }

  /** Every network that has a definition; those that are built in come first. */
  async list(): Promise<NetworkDefinition[]> {
    return await this.#store.list();
  }

  /**
   * Who is in a network. What others have taken away of it is made again, where this program may.
   * @throws SmartVMError NETWORK_UNKNOWN, INVALID_NETWORK, NETWORK_FAILED
   */
  async inspect(name: string = DEFAULT_NETWORK): Promise<NetworkInspection> {
    const definition = await this.#store.get(name);
    const isUp = (await readActive()).some((active) => active.name === name);
    if (isUp && isNetAdmin()) {
      await this.reconcile();
    }
    const attachments = (await readAttachments()).filter((record) => record.definition.name === name);
    const missing = attachments.filter(({ wire }) => ownerOf(wire.tapName) !== 'ours');
    return { definition, isUp, attachments, missing: missing.map(({ wire }) => wire.tapName) };
  }

  /**
   * Keeps the definition of a network; nothing of it is made on the host before its first VM is.
   * @throws SmartVMError INVALID_NETWORK, NETWORK_EXISTS, SUBNET_OVERLAPS, FILE_WRITE_FAILED, DIRECTORY_UNSAFE
   */
  async create(options: NetworkOptions): Promise<NetworkDefinition> {
    await makeHostFolders();
    return await withFabricLock(() => this.#store.create(options));
  }

  /** @throws SmartVMError NETWORK_UNKNOWN, NETWORK_IN_USE by whom, INVALID_OPTION for one that is built in */
  async remove(name: string): Promise<void> {
    const users = (await readAttachments()).filter(({ definition }) => definition.name === name);
    const alive = await Promise.all(users.map(({ holder }) => this.#options.isHeld(holder)));
    const ids = users.flatMap(({ holder }, index) => (alive[index] ? [holder.id] : []));
    if (ids.length > 0) {
      throw new SmartVMError('NETWORK_IN_USE', `VMs of the network ${name} run: ${ids.join(', ')}; stop them first`, {
        details: { name, ids },
      });
    }
    await this.#store.remove(name);
  }

  /**
   * Takes addresses for a VM. Nothing is made until the connection is plumbed; it is to be released in any case.
   * @throws SmartVMError NETWORK_UNKNOWN, ADDRESS_TAKEN, IP_EXHAUSTED, INVALID_OPTION, NETWORK_UNSUPPORTED, CANCELED
   */
  async connect(
    vm: Pick<Holder, 'id' | 'runtimeDir'>,
    requests: readonly NetworkRequest[],
    { ports = [], signal }: ConnectOptions = {},
  ): Promise<NetworkConnection> {
    const holder = { ...vm, owner: currentProcess() };
    await makeHostFolders();
    const leases = new NetworkLeases(holder, {
      isHeld: this.#options.isHeld,
      reclaimable: async (names) => {
        await undoDead(this.#options.isHeld); // whose interfaces and rules have these addresses still
        return names;
      },
      signal,
    });
    try {
      const records: AttachmentRecord[] = [];
      for (const [index, request] of requests.entries()) {
        const record = await this.#plan(request, index, leases, holder, ports.length > 0);
        records.push(...(record ? [record] : []));
      }
      assertTogether(records);
      return new NetworkConnection(records, leases, ports, (ifaceId, bound) =>
        this.change(vm, ifaceId, { ports: bound }),
      );
    } catch (error) {
      await leases.release();
      throw error;
    }
  }

  /**
   * Changes policy or ports of an interface of a VM that runs, whatever program it is of. The ports are bound already, by who lives as
   * long as the VM.
   * @throws SmartVMError NETWORK_UNSUPPORTED, VM_NOT_FOUND for a VM without such an interface
   */
  async change(vm: Pick<Holder, 'id' | 'runtimeDir'>, ifaceId: string, change: AttachmentChange): Promise<void> {
    await this.#makeRoom(change.ports ?? []);
    const find = async () => (await this.attachmentsOf(vm)).find(({ attachment }) => attachment.ifaceId === ifaceId);
    if (!(await changeRules(find, change))) {
      throw new SmartVMError('VM_NOT_FOUND', `no VM ${vm.id} has an interface ${ifaceId} in a network`);
    }
  }

  /** What a VM has in networks, by its interfaces. */
  async attachmentsOf(vm: Pick<Holder, 'id' | 'runtimeDir'>): Promise<AttachmentRecord[]> {
    const records = await readAttachments();
    return records.filter(({ holder }) => holder.id === vm.id && holder.runtimeDir === vm.runtimeDir);
  }

  /** What the rules have counted of a VM's interfaces. @throws SmartVMError NET_ADMIN_MISSING, NETWORK_FAILED, TOOL_MISSING */
  async countersOf(vm: Pick<Holder, 'id' | 'runtimeDir'>): Promise<InterfaceCounters[]> {
    const [records, counters] = await Promise.all([this.attachmentsOf(vm), readCounters()]);
    return counters ? records.map((record) => countersOfInterface(record, counters)) : [];
  }

  /** What happens to a VM's interfaces from now on. @throws SmartVMError as {@link countersOf} */
  watch(vm: Pick<Holder, 'id' | 'runtimeDir'>, options: WatchOptions): AsyncGenerator<NetworkEvent, void, undefined> {
    const [records, repair] = [() => this.attachmentsOf(vm), () => this.reconcile()];
    return watch({ records, counters: readCounters, repair }, options);
  }

  /** Makes again what others have taken away of the networks that are up: bridges, addresses, rules. */
  async reconcile(): Promise<void> {
    await this.#undoDead();
    await reconcile();
  }

  /** Who has bound a port has it: another VM that is on record with it is dead. */
  async #makeRoom(ports: readonly PublishedPort[]): Promise<void> {
    const taken = ports.length === 0 ? [] : (await readAttachments()).flatMap((record) => record.ports);
    if (taken.some((one) => ports.some((other) => overlap(one, other)))) {
      await this.#undoDead();
    }
  }

  async #undoDead(): Promise<void> {
    await makeHostFolders();
    await using _lock = await lockLeases(hostFolders().leases);
    await undoDead(this.#options.isHeld);
  }

  async #plan(
    request: NetworkRequest,
    index: number,
    leases: NetworkLeases,
    holder: Holder,
    publishes: boolean,
  ): Promise<AttachmentRecord | undefined> {
    const { network = DEFAULT_NETWORK, ifaceId = `eth${index}`, multiQueue = false } = request;
    const definition = await this.#store.get(network);
    const egress = request.egress ?? definition.egress;
    const strategy = MODES[definition.mode];
    if (!strategy.hasInterface) {
      return undefined;
    }
    assertSupported(definition, egress, publishes && index === 0);
    const plan = await strategy.plan({ definition, request, ifaceId, leases });
    return { version: 1, holder, definition, ...plan, egress, ports: [], multiQueue };
  }
}

/** @throws SmartVMError NETWORK_UNSUPPORTED for what nobody would see to */
function assertSupported({ name, mode }: NetworkDefinition, egress: Egress, publishes: boolean): void {
  const { isOfHost, ownsBridge } = MODES[mode];
  if (!isOfHost && (Array.isArray(egress) || publishes)) {
    throw new SmartVMError(
      'NETWORK_UNSUPPORTED',
      `the network ${name} has neither rules nor published ports: its egress is 'none' or 'internet'; use one of mode 'nat'`,
      { details: { network: name, mode } },
    );
  }
  if (isOfHost && !ownsBridge && egress !== 'internet') {
    throw new SmartVMError(
      'NETWORK_UNSUPPORTED',
      `the network ${name} is a bridge of somebody else's, where no policy holds: its egress is 'internet'; use one of mode 'nat'`,
      { details: { network: name, mode } },
    );
  }
}

/** A VMM is in one network namespace. */
function assertTogether(records: readonly AttachmentRecord[]): void {
  const apart = records.find(({ namespace }) => namespace !== undefined);
  if (apart && records.length > 1) {
    throw new SmartVMError(
      'NETWORK_UNSUPPORTED',
      `a VM in the network ${apart.definition.name}, of mode 'netns', has no interface in another`,
      { details: { network: apart.definition.name } },
    );
  }
}
