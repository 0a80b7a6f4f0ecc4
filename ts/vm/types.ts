import type { CapacityDemand } from '../config/capacity.js';
import type { GuestInit } from '../config/guest-init.js';
import type { ImageConfig } from '../config/image-config.js';
import type { VmTags } from '../config/labels.js';
import type { LifetimeOptions } from '../config/lifetime.js';
import type { NetworkRequest } from '../config/network.js';
import type { PublishedPort } from '../config/publish.js';
import type { IRestoreOptions } from '../config/restore.js';
import type { ReadyOptions } from '../guest/ready/ready.js';
import type { DialGuest } from '../guest/types.js';
import type { Confine } from '../vmm/confinement.js';
import type { VmmKind } from '../vmm/find.js';
import type { VmmFlags } from '../vmm/flags.js';
import type { Launchers } from '../vmm/launchers.js';
import type { VmRecord } from '../vmm/registry/record.js';
import type { Claim, ClaimName, PrepareFiles, Reserve } from './boot-context.js';
import type { VmExit } from './exit.js';
import type { Connect } from './network.js';
import type { ShutdownRung } from './shutdown.js';
import type { VmState } from './state.js';
import type { VmNetworkAccess } from './vm-network.js';

export interface MicroVMOptions extends VmTags, LifetimeOptions, ReadyOptions {
  /** What the VM's image says of the programs in it. */
  imageConfig?: ImageConfig | undefined;
  /** For the record: which VMM it is. */
  vmmKind?: VmmKind | undefined;
  /** Directory (0700) of the keeper's socket and of the logs; removed when the VM ends. Default `<socketPath>.d`. */
  runtimeDir?: string | undefined;
  /** Shuts the VMM in. Default: it runs with this program's rights. */
  confine?: Confine | undefined;
  /** Where the process is taken from that starts the VMM. Default: it is spawned for this VM. */
  launchers?: Launchers | undefined;
  /** Runs before anything of the VM is made; what it gives is called when all is released. Default: nothing is reserved. */
  reserve?: Reserve | undefined;
  /** Runs when the VM has its directory and its record. Default: the name is not the VM's alone. */
  claimName?: ClaimName | undefined;
  /** What it takes outside of its directory. Default: nothing. */
  claim?: Claim | undefined;
  /** Runs before the VM has its directory. Default: it is in no network but by the TAPs that its configuration names. */
  connect?: Connect | undefined;
  /** What can be asked of the networks that it is in. Default: it is in none. */
  networkAccess?: VmNetworkAccess | undefined;
  /** Runs beside the VMM's own start. */
  prepare?: PrepareFiles | undefined;
  /** `image`: the guest's agent hands PID 1 to the image's own init, and the start waits until that is up. Default `agent`. */
  init?: GuestInit | undefined;
  /** Runs in the guest when its agent answers, prints on the console, and ends the VM with it. Default: none. */
  command?: readonly string[] | undefined;
  /** Starts from a snapshot in place of a kernel; the configuration then has nothing of the VM's hardware. */
  restore?: IRestoreOptions | undefined;
  /** Flags of the VMM's command line. */
  vmmFlags?: VmmFlags | undefined;
  /** Milliseconds after which a guest whose agent hung up and does not come back counts as shut down. Default 10,000. */
  guestGoneAfterMs?: number | undefined;
  /** Flags for the VMM beside `--api-sock`, `--id` and those of `vmmFlags`, as they are. */
  extraArgs?: readonly string[] | undefined;
  /** A detached VM outlives, once its start is through, the program and the MicroVM that started it. Default false. */
  detached?: boolean | undefined;
  /** Nothing is to be left of a detached VM once it has ended, though no program be there: its keeper removes it. Default false. */
  removeOnExit?: boolean | undefined;
  /** Attaches to a VM that runs, in place of starting one. */
  attach?: { readonly record: VmRecord; readonly dial: DialGuest | undefined } | undefined;
}

export interface CreateVMOptions
  extends Omit<
    MicroVMOptions,
    | 'runtimeDir'
    | 'vmmKind'
    | 'launchers'
    | 'confine'
    | 'reserve'
    | 'claimName'
    | 'connect'
    | 'networkAccess'
    | 'attach'
  > {
  /**
   * What the VM counts for in the host's capacity. Default: its configuration. One that is restored says nothing there: it
   * counts for one CPU and as much memory as its memory file has bytes, or none where a page fault handler has the memory.
   */
  capacity?: CapacityDemand | undefined;
  /** The networks that it is in, an interface each: those of its configuration with these ids, or others beside. Default: none. */
  networks?: readonly NetworkRequest[] | undefined;
  /** Ports of the host that lead to the VM's first network, as in Docker: `'8080:80'`. Default: none. */
  publish?: readonly (string | PublishedPort)[] | undefined;
}

export interface StartOptions {
  /** Ends the start; once the VM runs it has no say. */
  signal?: AbortSignal | undefined;
  /** Most milliseconds for the start up to a guest that answers, without what it waits in line. Default 60,000. */
  timeoutMs?: number | undefined;
  /** Most milliseconds to wait in line where the host's capacity is taken. Default 0: CAPACITY_EXCEEDED at once. */
  queueMs?: number | undefined;
}

export interface StopOptions {
  /** Milliseconds that each rung of the shutdown ladder is given. Default 5,000, and 30,000 for an image's own init to end its services. */
  graceMs?: number | undefined;
  /** Goes straight to SIGKILL. What the guest has not written to its disks is lost. Default false. */
  force?: boolean | undefined;
}

export interface StopResult {
  /** The gentlest way that worked; `none` when nothing ran. */
  readonly rung: ShutdownRung | 'none';
}

export interface MicroVMEvents {
  state: [state: VmState, previous: VmState];
  /** Bytes of the serial console, from its start. They are the guest's: escape them before they reach a terminal. */
  console: [chunk: Buffer];
  /** The VM, having run, has ended, and all that it held on the host is released. */
  exit: [exit: VmExit];
  /** This has let go of the VM, which lives on. */
  released: [];
}

/** What NetworkManager gives a VM; the interface keeps this folder apart from ts/network. */
export type NetworkProvider = object;
