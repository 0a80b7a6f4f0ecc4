import type { Readable, Writable } from 'node:stream';
import type { NetworkAttachment } from '../config/network.js';
import type { SmartVMError } from '../errors.js';
import type { GuestInterfaceStatus, GuestNetworkChange } from './network.js';

export type { GuestInterfaceStatus, GuestNetworkChange } from './network.js';

export interface SpawnOptions {
  /** Working directory in the guest. Default: the VM's `cwd`, else the user's home. */
  cwd?: string | undefined;
  /** Added to the VM's `env`, which is added to the agent's. */
  env?: Readonly<Record<string, string>> | undefined;
  /** Name of a user in the guest's /etc/passwd, or uid or uid:gid. Default: the VM's `user`, else `root`. */
  user?: string | undefined;
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

/** A process in the guest. Its streams carry backpressure: what is not read stops the process, not this program's memory. */
export interface GuestProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
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

export interface ExecOptions extends SpawnOptions {
  /** Runs a command given as one string by the guest's `sh -c`. Default false. */
  shell?: boolean | undefined;
  /** Written to the command's standard input, which is otherwise empty. */
  stdin?: string | Uint8Array | undefined;
  /** Ends the command's process group after this many milliseconds. Default: no limit. */
  timeoutMs?: number | undefined;
  /** Ends the command's process group. */
  signal?: AbortSignal | undefined;
  /** Most bytes kept of each stream. Default 100,000,000. */
  maxOutputBytes?: number | undefined;
}

export interface ExecResult extends ProcessExit {
  readonly stdout: string;
  readonly stderr: string;
  readonly durationMs: number;
}

/** The way into a guest that runs SmartVM's agent. */
export interface Guest {
  /** Settles when the connection has ended, for whatever reason; never rejects. */
  readonly closed: Promise<void>;
  spawn(argv: readonly string[], options?: SpawnOptions): Promise<GuestProcess>;
  /**
   * Starts a process without standard input that outlives this connection.
   * @returns what lets go of it: a VM that ends with the process does not before that, or the end of the connection
   * @throws SmartVMError EXEC_FAILED
   */
  spawnDetached(argv: readonly string[], options?: SpawnDetachedOptions): Promise<() => void>;
  exec(command: string | readonly string[], options?: ExecOptions): Promise<ExecResult>;
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
  /** Asks the guest to end itself in order. */
  shutdown(mode: 'reboot' | 'poweroff'): Promise<void>;
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
