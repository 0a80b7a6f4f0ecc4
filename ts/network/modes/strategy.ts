import type { NetworkDefinition, NetworkRequest } from '../../config/network.js';
import type { AttachmentRecord } from '../host-state.js';
import type { NetworkLeases } from '../leases.js';

/** What a VM is to be given, before anything of it is made. */
export type Plan = Pick<AttachmentRecord, 'attachment' | 'wire' | 'namespace'>;

export interface PlanRequest {
  readonly definition: NetworkDefinition;
  readonly request: NetworkRequest;
  readonly ifaceId: string;
  readonly leases: NetworkLeases;
}

/** One way for VMs to reach the world. */
export interface Strategy {
  /** Whether the VM has an interface at all. */
  readonly hasInterface: boolean;
  /** Whether anything of the host is taken or made: leases, interfaces, rules. */
  readonly isOfHost: boolean;
  /** Whether the bridge is made and removed with the network, and this host routes between it and the world. */
  readonly ownsBridge: boolean;
  /** Takes what the VM is to have. @throws SmartVMError ADDRESS_TAKEN, IP_EXHAUSTED, INVALID_OPTION … */
  readonly plan: (request: PlanRequest) => Promise<Plan>;
  /** Lines of ip(8) that make the VM's interfaces in the host's namespace. */
  readonly up: (record: AttachmentRecord) => string[];
  /** What comes behind that, in a namespace of the VM's own. */
  readonly upInside?: (record: AttachmentRecord, signal?: AbortSignal) => Promise<void>;
  /** Lines that undo both. */
  readonly down: (record: AttachmentRecord) => string[];
  /** The name by which the VMM knows the interface. */
  readonly hostDevName: (record: AttachmentRecord) => string;
}
