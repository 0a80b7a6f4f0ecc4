import type { Duplex, Readable, Writable } from 'node:stream';
import type { NetworkAttachment } from '../config/network.js';
import type { SmartVMError } from '../errors.js';
import type { GuestInterfaceStatus, GuestNetworkChange } from './network.js';
import type { GuestAddress } from './ports/address.js';

export type { GuestInterfaceStatus, GuestNetworkChange } from './network.js';

/** What a process may take of the guest, with all that descend from it. It needs control groups in the guest's kernel. */
export interface ProcessLimits {
  /** MiB of memory, at least 1. A process over it is killed. */
  memoryMib?: number | undefined;
  /** CPUs that may be busy with it, in sum; at least 0.01. */
  cpus?: number | undefined;
  /** Processes and threads, at least 1. */
  processes?: number | undefined;
}

export interface SpawnOptions {
  /** Working directory in the guest. Default: the VM's `cwd`, else the user's home. */
  cwd?: string | undefined;
  /** Added to the VM's `env`, which is added to the agent's. */
  env?: Readonly<Record<string, string>> | undefined;
  /** Name of a user in the guest's /etc/passwd, or uid or uid:gid. Default: the VM's `user`, else `root`. */
  user?: string | undefined;
  /** Default: what the VM has. */
  limits?: ProcessLimits | undefined;
}

export interface SpawnProcessOptions extends SpawnOptions {
  /** It goes on when this program lets go of it, or is gone, and can be reached again by its pid. Default false: it ends then. */
  detached?: boolean | undefined;
  /** `ignore`: its standard input has ended from the beginning. Default `pipe`: the handle's `stdin`, open until that is ended. */
  stdin?: 'pipe' | 'ignore' | undefined;
}

export interface SpawnDetachedOptions extends SpawnOptions {
  /** What it prints goes to the VM's console. Default false: it is dropped. */
  console?: boolean | undefined;
  /** The VM ends with it. Default false. */
  endsVm?: boolean | undefined;
}

/** How a process in the guest ended: by exit code, or by signal. */
export interface ProcessExit {
  readonly exitCode: number | null;
  /** With its prefix: `SIGTERM`. */
  readonly signal: NodeJS.Signals | null;
}

/** A command in the guest. Its streams carry backpressure: what is not read stops the process, not this program's memory. */
export interface GuestCommand {
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** To be read too, or dropped by `resume()`: the two streams share what may be on its way. */
  readonly stderr: Readable;
  /** Signals the process's whole group. Default SIGTERM. @throws SmartVMError INVALID_OPTION for a signal that SSH has no name for */
  kill(signal?: NodeJS.Signals): void;
  /** Ends the process's whole group, and its streams. */
  destroy(): void;
  /**
   * How it ended. Settles when its standard output has been read to the end.
   * @throws SmartVMError AGENT_UNREACHABLE or VMM_EXITED when the guest was lost before, CANCELED after `destroy()`,
   *   AGENT_FAILED when the agent gave it up
   */
  wait(): Promise<ProcessExit>;
}

/** In characters. */
export interface TerminalSize {
  readonly cols: number;
  readonly rows: number;
}

/** A process in the guest that other programs can reach too. */
export interface GuestProcess extends GuestCommand {
  /** Its number in the guest. */
  readonly pid: number;
  /** Whether it goes on without this program. */
  readonly detached: boolean;
  /** Bytes of its output that were dropped before `stdout` and `stderr` begin. */
  readonly dropped: number;
  /** Tells one of `openPty()` the size of its terminal, which it hears of by SIGWINCH. @throws SmartVMError INVALID_OPTION */
  resize(size: TerminalSize): void;
  /**
   * Lets go of it: it goes on, and its output is kept in the guest. `wait()` then rejects with CANCELED.
   * @throws SmartVMError INVALID_STATE for one that ends with this program
   */
  release(): void;
}

/** An address in the guest at which the agent listens. */
export interface GuestListener {
  /** With the port that it is, where any was asked for. */
  readonly address: GuestAddress;
  stop(): Promise<void>;
}

/** The way into a guest that runs SmartVM's agent. */
export interface Guest {
  /** Settles when the connection has ended, for whatever reason; never rejects. */
  readonly closed: Promise<void>;
  /** Starts a command that is this connection's alone. One that cannot be executed ends with 126 or 127, as in a shell. */
  open(argv: readonly string[], options?: SpawnOptions): Promise<GuestCommand>;
  /** Begins an operation on the guest's files. @throws SmartVMError AGENT_TOO_OLD */
  files(request: object): Promise<GuestCommand>;
  /** Starts a process that others can reach. @throws SmartVMError EXEC_FAILED, AGENT_TOO_OLD */
  spawn(argv: readonly string[], options?: SpawnProcessOptions): Promise<GuestProcess>;
  /**
   * Starts such a process on a terminal: its output is all in `stdout`.
   * @param argv undefined for the user's login shell
   * @throws SmartVMError EXEC_FAILED, AGENT_TOO_OLD
   */
  openTerminal(
    argv: readonly string[] | undefined,
    terminal: TerminalSize & { term: string },
    options?: SpawnProcessOptions,
  ): Promise<GuestProcess>;
  /** Joins such a process. @throws SmartVMError PROCESS_NOT_FOUND, AGENT_TOO_OLD */
  connect(pid: number): Promise<GuestProcess>;
  /**
   * Starts a process without standard input that outlives this connection.
   * @returns what lets go of it: a VM that ends with the process does not before that, or the end of the connection
   * @throws SmartVMError EXEC_FAILED
   */
  spawnDetached(argv: readonly string[], options?: SpawnDetachedOptions): Promise<() => void>;
  /** Connects to a socket in the guest. @throws SmartVMError PORT_UNREACHABLE when nobody listens there, AGENT_UNREACHABLE */
  dial(address: GuestAddress): Promise<Duplex>;
  /** Listens in the guest while the connection lasts. @throws SmartVMError AGENT_FAILED, AGENT_UNREACHABLE */
  listen(address: GuestAddress, take: (socket: Duplex) => void): Promise<GuestListener>;
  /**
   * Sets the guest's network up anew, or, without a change, waits until it is set up. What is there already stays.
   * @throws SmartVMError GUEST_NETWORK_FAILED, AGENT_FAILED, AGENT_UNREACHABLE
   */
  network(change?: GuestNetworkChange): Promise<readonly GuestInterfaceStatus[]>;
  /**
   * Gives a guest that came out of a snapshot, and has its twin's, a name and a network of its own.
   * @throws SmartVMError GUEST_NETWORK_FAILED, AGENT_FAILED, AGENT_UNREACHABLE
   */
  renumber(hostname: string, attachments: readonly NetworkAttachment[]): Promise<void>;
  /**
   * Asks the agent itself. What it answers is the guest's word: to be checked.
   * @param since the version of the protocol that brought the verb
   * @throws SmartVMError AGENT_FAILED, AGENT_TOO_OLD, AGENT_UNREACHABLE
   */
  control(verb: string, parameters?: object, since?: number): Promise<unknown>;
  /** Asks the guest to end itself in order. */
  shutdown(mode: 'reboot' | 'poweroff'): Promise<boolean>;
  /** Ends the connection; whoever waits for something of the guest is told the reason. */
  close(reason?: SmartVMError): void;
}

export interface DialOptions {
  signal?: AbortSignal | undefined;
  /** Most milliseconds until both sides are authenticated, of which the vsock handshake has 2,000. Default 10,000. */
  timeoutMs?: number | undefined;
  /** Finds the reason behind the loss of an open connection, such as the end of the VMM. Default: the loss itself. */
  explain?: ((error: SmartVMError) => Promise<unknown>) | undefined;
}

/** Connects to the agent of one VM. @throws SmartVMError AGENT_UNREACHABLE while it is not up, CANCELED */
export type DialGuest = (options: DialOptions) => Promise<Guest>;
