import type { HostPath } from '../config/host-paths.js';
import type { GuestSize } from './guest-size.js';
import type { Journal } from './registry/record.js';

/** What is known of a VM when its VMM is about to be shut in. */
export interface ConfineRequest {
  readonly id: string;
  readonly runtimeDir: string;
  /** All that the VMM opens; see `configPaths`. */
  readonly paths: readonly HostPath[];
  /** TAP devices of the host. One that is not there is made. */
  readonly taps: readonly string[];
  /** TAP devices that somebody makes meanwhile. */
  readonly lentTaps: readonly string[];
  /** The path of a network namespace that somebody makes meanwhile, in which the VMM finds its TAPs. */
  readonly networkNamespace: string | undefined;
  /** Whether the VMM opens connections of its own. */
  readonly needsHostNetwork: boolean;
  readonly guest: GuestSize;
  /** Writes down what is about to be made on the host. */
  readonly journal: (entries: Pick<Journal, 'uid' | 'cgroup' | 'taps'>) => Promise<void>;
  readonly signal: AbortSignal;
}

/** The walls around one VMM. Paths mean the same inside and outside. */
export interface Confinement {
  /** The uid, and gid, that the VMM has. */
  readonly uid: number;
  /** What the keeper is to read. */
  readonly specPath: string;
  /** What the VMM can open to write to its standard error, which is somebody else's as /dev/stderr. */
  readonly stderrPath: string;
  /** The way in, in place of the VMM itself with its arguments. */
  readonly command: (args: readonly string[]) => [string, ...string[]];
  /** Gives the VMM the files that were made for it in its folder. */
  readonly own: () => Promise<void>;
  /** Takes the VMM's folder from it, and leaves it the files: to be called once it has made all its sockets. */
  readonly seal: () => Promise<void>;
  /** Gives back what it holds of the host. To be called when the VMM has ended. */
  readonly release: () => Promise<void>;
}

export type Confine = (request: ConfineRequest) => Promise<Confinement>;
