import type { GuestAddress } from '../ports/address.js';

interface Limited {
  /** Most milliseconds for this one, from the beginning of the whole. Default: as long as the whole may take. */
  readonly timeoutMs?: number | undefined;
}

interface Repeated extends Limited {
  /** Least milliseconds between two attempts; it is also at least as long as the last one took. Default 100. */
  readonly intervalMs?: number | undefined;
  /** Most milliseconds for one attempt, which then counts as failed. Default 5,000; of a command 30,000. */
  readonly attemptTimeoutMs?: number | undefined;
}

/** The guest's agent answers. */
export interface AgentWait extends Repeated {
  readonly kind: 'agent';
}

/** Somebody in the guest listens. */
export interface PortWait extends Repeated {
  readonly kind: 'port';
  readonly address: GuestAddress;
}

/** Where a server of HTTP in the guest is asked, and what it is to answer. Redirects are answers: nobody follows them. */
export interface HttpWaitOptions extends Repeated {
  /** TCP port in the guest, 1 to 65535. */
  readonly port?: number | undefined;
  /** A name or address as the guest knows it. Default `localhost`. */
  readonly host?: string | undefined;
  /** Unix socket in the guest, in place of a port. */
  readonly socketPath?: string | undefined;
  /** With its query. Default `/`. */
  readonly path?: string | undefined;
  /** Default `GET`. */
  readonly method?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** One, several, or what says of one whether it will do. Default: 200 to 399. */
  readonly status?: number | readonly number[] | ((status: number) => boolean) | undefined;
  /** To be found in the first 64 KiB of the answer's body. Default: the body is not read. */
  readonly body?: string | RegExp | undefined;
}

export interface HttpWait extends HttpWaitOptions {
  readonly kind: 'http';
}

/** A line stands on the VM's console, of what is kept since the VM's start, or comes there. */
export interface LogLineWait extends Limited {
  readonly kind: 'log-line';
  /** A part of the line, or a pattern, for the first 16 KiB of it without what drives a terminal. */
  readonly match: string | RegExp;
  /** How many such lines there are to be. Default 1. */
  readonly times?: number | undefined;
}

export interface CommandWaitOptions extends Repeated {
  /** Which exit code is success, 0 to 255. Default 0. */
  readonly exitCode?: number | undefined;
  /** Runs a command given as one string by the guest's `sh -c`. Default false. */
  readonly shell?: boolean | undefined;
  readonly cwd?: string | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly user?: string | undefined;
}

/** A command in the guest ends with success. It is run again until it does. */
export interface CommandWait extends CommandWaitOptions {
  readonly kind: 'command';
  readonly command: string | readonly string[];
}

/** Every one of them has come to pass, each at some time. */
export interface AllWait extends Limited {
  readonly kind: 'all';
  readonly waits: readonly Wait[];
}

/** One of them has come to pass. */
export interface AnyWait extends Limited {
  readonly kind: 'any';
  readonly waits: readonly Wait[];
}

/** What is waited for. They are plain data; the functions of `ready` make them. */
export type Wait = AgentWait | PortWait | HttpWait | LogLineWait | CommandWait | AllWait | AnyWait;

/** A wait that did not come to pass, as `details.failed` of READY_TIMEOUT has it. */
export interface FailedWait {
  readonly kind: Exclude<Wait['kind'], 'all' | 'any'>;
  /** What was waited for: `HTTP GET localhost:8080/healthz`. */
  readonly wait: string;
  /** What was seen last. It is the guest's word. */
  readonly saw: string;
  /** Its own limit, where that has ended it. */
  readonly timeoutMs?: number;
}

/** When a VM counts as started. */
export interface ReadyOptions {
  /** What a start waits for once the guest answers, and its command runs. Default: nothing more. */
  readyWhen?: Wait | undefined;
  /** Most milliseconds for that. Default 60,000. */
  readyTimeoutMs?: number | undefined;
}

export interface WaitUntilOptions {
  /** Most milliseconds. Default 60,000. */
  readonly timeoutMs?: number | undefined;
  /** Ends the wait. */
  readonly signal?: AbortSignal | undefined;
}
