import type { NetworkAttachment } from '../config/network.js';
import type { INetworkInterfaceConfig } from '../config/types.js';
import { CleanupStack } from '../util/cleanup-stack.js';
import type { Holder } from '../util/holder.js';
import { bringUp, takeDown } from './fabric.js';
import type { AttachmentRecord } from './host-state.js';
import type { NetworkLeases } from './leases.js';
import { DEFAULT_MTU } from './modes/bridged.js';
import { MODES } from './modes/modes.js';
import { assertNetAdmin } from './plumbing/ip.js';

/** What one VM has of its networks: addresses from the first, interfaces when they are made. */
export class NetworkConnection {
  readonly records: readonly AttachmentRecord[];
  readonly #leases: NetworkLeases;
  readonly #cleanup = new CleanupStack();

  constructor(records: readonly AttachmentRecord[], leases: NetworkLeases) {
    this.records = records;
    this.#leases = leases;
    this.#cleanup.push('leases', () => leases.release());
  }

  get holder(): Holder {
    return this.#leases.holder;
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

  /** Makes the interfaces and their rules. @throws SmartVMError those of `bringUp()` */
  async plumb(signal?: AbortSignal): Promise<void> {
    for (const record of this.records) {
      if (MODES[record.definition.mode].isOfHost) {
        assertNetAdmin();
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
