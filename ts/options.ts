import type { CapacityOptions } from './config/capacity.js';
import type { JailOptions } from './config/jail.js';
import type { Arch } from './vmm/host.js';

/** Where a SmartVM has what, and how its VMs are run. */
export interface SmartVMOptions {
  /** Where images are kept. Default `SMARTVM_DATA_DIR`, `/var/lib/smartvm` (root) or `~/.local/share/smartvm`. */
  dataDir?: string;
  /** Where running VMs have their directories. Default `SMARTVM_RUNTIME_DIR`, `/run/smartvm` (root) or `$XDG_RUNTIME_DIR/smartvm`. */
  runtimeDir?: string;
  /** Which VMM: Firecracker where KVM can run guests and QEMU elsewhere (`auto`, the default), or one of the two. */
  vmm?: 'auto' | 'firecracker' | 'qemu';
  /** A Firecracker to use whatever `vmm` says. */
  firecrackerBinaryPath?: string;
  /** Default: the host's. */
  arch?: Arch;
  /** Name of the host's bridge for VMs. Default `svbr0`. */
  bridgeName?: string;
  /** IPv4 subnet for VMs in CIDR notation. Default `172.30.0.0/24`. */
  subnet?: string;
  /**
   * Shuts each VMM into a jail: a uid, a root, namespaces and cgroup limits of its own. Default as root. Other users cannot; for
   * them, `false` says that this is known, where it is otherwise said once in a warning.
   */
  jail?: boolean | JailOptions;
  /** How much of the host's memory and CPUs all VMs of this user may take; `false`: these VMs neither ask nor count. */
  capacity?: CapacityOptions | false;
}
