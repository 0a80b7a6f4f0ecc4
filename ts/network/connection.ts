import type { NetworkAttachment } from '../config/network.js';
import type { PublishedPort } from '../config/publish.js';
import type { INetworkInterfaceConfig } from '../config/types.js';
import { CleanupStack } from '../util/cleanup-stack.js';
import { bringUp, takeDown } from './fabric.js';
import type { AttachmentRecord } from './host-state.js';
import type { NetworkLeases } from './leases.js';
import { DEFAULT_MTU } from './modes/bridged.js';
import { MODES } from './modes/modes.js';
import { assertCanPlumb } from './plumbing/ip.js';

type ChangePorts = (ifaceId: string, ports: readonly PublishedPort[]) => Promise<void>;

/** What one VM has of its networks: addresses from the first, interfaces when they are made. */
export class NetworkConnection {
  readonly records: readonly AttachmentRecord[];
  readonly #ports: readonly PublishedPort[];
  readonly #change: ChangePorts;
  readonly #cleanup = new CleanupStack();

  /** @param ports that are to lead to the first interface @param change puts in those that have been bound */
  constructor(
    records: readonly AttachmentRecord[],
    leases: NetworkLeases,
    ports: readonly PublishedPort[],
    change: ChangePorts,
  ) {
    this.records = records;
    this.#ports = ports;
    this.#change = change;
    this.#cleanup.push('leases', () => leases.release());
  }

  /** What the guest is to be told. */
  get attachments(): readonly NetworkAttachment[] {
    return this.records.map(({ attachment }) => attachment);
  }

  /** What the VMM is to be told. */
  get interfaces(): readonly (INetworkInterfaceConfig & { hostDevName: string })[] {
    return this.records.map((record) => ({
      ifaceId: record.attachment.ifaceId,
      hostDevName: MODES[record.definition.mode].hostDevName(record),
      guestMac: record.attachment.mac,
      // What every guest takes for granted need not be said, and older releases of Firecracker cannot be told.
      ...(record.attachment.mtu === DEFAULT_MTU ? {} : { mtu: record.attachment.mtu }),
    }));
  }

  /** The network namespace that the VMM has to be in, by its name. */
  get namespace(): string | undefined {
    return this.records.find((record) => record.namespace !== undefined)?.namespace;
  }

  /** What a keeper is to listen on, and where the host reaches the VM; undefined: nothing. */
  get publication(): { guest: string; ports: readonly PublishedPort[] } | undefined {
    const { wire } = this.records[0] ?? {};
    const guest = wire?.ipv4 ?? wire?.ipv6;
    return guest === undefined || this.#ports.length === 0 ? undefined : { guest, ports: this.#ports };
  }

  /** Lets in what comes from outside to ports that have been bound. @throws SmartVMError those of `Networks.change()` */
  async published(ports: readonly PublishedPort[]): Promise<void> {
    const [first] = this.records;
    if (first) {
      await this.#change(first.attachment.ifaceId, ports);
    }
  }

  /** Makes the interfaces and their rules. @throws SmartVMError those of `bringUp()` */
  async plumb(signal?: AbortSignal): Promise<void> {
    for (const record of this.records) {
      if (MODES[record.definition.mode].isOfHost) {
        await assertCanPlumb();
        this.#cleanup.push(`interface ${record.attachment.ifaceId}`, () => takeDown(record));
        await bringUp(record, signal);
      }
    }
  }

  /** Undoes it all. @throws SmartVMError CLEANUP_FAILED */
  async release(): Promise<void> {
    await this.#cleanup.unwind();
  }
}
