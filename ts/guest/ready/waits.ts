import type { GuestAddress } from '../ports/address.js';
import type {
  AgentWait,
  AllWait,
  AnyWait,
  CommandWait,
  CommandWaitOptions,
  HttpWait,
  HttpWaitOptions,
  LogLineWait,
  PortWait,
  Wait,
} from './types.js';

type Options<W extends Wait, Own extends PropertyKey> = Omit<W, 'kind' | Own>;

/** The guest's agent answers, as it does when a start is through; for a VM that was attached to, or has been restored. */
export function agent(options: Options<AgentWait, never> = {}): AgentWait {
  return { kind: 'agent', ...options };
}

/** Somebody in the guest listens at a TCP port, given as a number for one of its loopback, or at a Unix socket. */
export function port(address: number | GuestAddress, options: Options<PortWait, 'address'> = {}): PortWait {
  return { kind: 'port', address: typeof address === 'number' ? { port: address } : address, ...options };
}

/** A server in the guest answers a request as it should. It is reached without a network, and redirects are not followed. */
export function http(options: HttpWaitOptions): HttpWait {
  return { kind: 'http', ...options };
}

/** A line with this text, or that this pattern matches, stands on the VM's console since its start, or comes there. */
export function logLine(match: string | RegExp, options: Options<LogLineWait, 'match'> = {}): LogLineWait {
  return { kind: 'log-line', match, ...options };
}

/** A command in the guest ends with exit code 0. It is run again until it does. */
export function command(argv: string | readonly string[], options: CommandWaitOptions = {}): CommandWait {
  return { kind: 'command', command: argv, ...options };
}

/** Every one of them has come to pass, each at some time. They are waited for at once. */
export function all(waits: readonly Wait[], options: Options<AllWait, 'waits'> = {}): AllWait {
  return { kind: 'all', waits, ...options };
}

/** One of them has come to pass; the others are given up then. */
export function any(waits: readonly Wait[], options: Options<AnyWait, 'waits'> = {}): AnyWait {
  return { kind: 'any', waits, ...options };
}
