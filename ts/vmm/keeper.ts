import type { SocketClient } from '../firecracker/socket-client.js';
import type { ProcessIdentity } from '../util/process-identity.js';
import type { VmmExit } from './exit.js';
import type { KeeperLife, KeeperWord } from './keeper-life.js';
import { askKeeper } from './keeper-state.js';

/** The small process that is the parent of one VMM. */
export interface Keeper {
  readonly process: ProcessIdentity;
  readonly vmm: ProcessIdentity;
  /**
   * Has the keeper begin, which until then leaves the CPUs to the VMM's own beginning. Settles when its socket is there, when it
   * has ended before, or late.
   */
  reach(): Promise<void>;
  /** Settles when the keeper has ended, and with it the VMM. Its last word, where it has not told it here, is in exit.json. */
  readonly ended: Promise<VmmExit | undefined>;
  /** For state and signals. */
  readonly client: SocketClient;
  /** For the console: a guest that reads nothing holds up these connections, and no signal. */
  readonly console: SocketClient;
  /** What it is told and tells of the VM's life. */
  readonly life: KeeperLife;
  /**
   * Says it at once and without an answer, where this program is the keeper's owner: what others ask the keeper later is answered by
   * it. A keeper that has not begun hears it when it has. Absent for that of another program.
   */
  readonly say?: (word: OwnersWord) => void;
  /** Orders it to end the VMM at once; rejects when it does not take the order. */
  kill(): Promise<void>;
  /** Says that the VM's start is through, and makes it outlive this program. */
  detach(word: KeeperWord): Promise<void>;
  /** Lets go of it: nothing of it keeps this program from ending. */
  release(): void;
  /**
   * Gives up ownership, which tells a keeper that is not detached to end its VM, and waits until the keeper is gone.
   * One that does not go within `KEEPER_EXIT_MS` is killed, and its VMM with it.
   */
  end(): Promise<void>;
}

/**
 * What an owner says by the pipe to its keeper; `release` says that this program will do nothing for its VM any more, and may be about
 * to end.
 */
export type OwnersWord = KeeperWord | { readonly signal: NodeJS.Signals } | { readonly release: true };

/** How long a keeper has to take the order to kill, and then to tell of the end. */
export const KILL_ORDER_MS = 2_000;
export const KEEPER_EXIT_MS = 5_000;

/** True while the keeper of a runtime directory is there: its socket refuses once it is dead. */
export async function isKeeperAlive(runtimeDir: string): Promise<boolean> {
  return (await askKeeper(runtimeDir)) !== 'gone';
}
