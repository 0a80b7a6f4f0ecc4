import type { Readable } from 'node:stream';
import type { ProcessExit, SpawnOptions } from './types.js';

/** How output is given: as text of an encoding, or as the bytes that came. */
export type OutputEncoding = 'buffer' | BufferEncoding;

/** What output of an encoding is. */
export type OutputOf<E extends OutputEncoding> = E extends 'buffer' ? Buffer : string;

/** What a command can read. A stream is read as fast as the command takes it. */
export type ExecInput = string | Uint8Array | Readable | AsyncIterable<string | Uint8Array>;

export interface ExecOptions<E extends OutputEncoding = OutputEncoding> extends SpawnOptions {
  /** Runs a command given as one string by the guest's `sh -c`. Default false. */
  shell?: boolean | undefined;
  /** Given to the command as its standard input, which is otherwise empty. A stream that fails ends the command. */
  stdin?: ExecInput | undefined;
  /** Ends the command's process group after this many milliseconds. Default: no limit. */
  timeoutMs?: number | undefined;
  /** Ends the command's process group. */
  signal?: AbortSignal | undefined;
  /** Most bytes collected of each stream, at the end of which the command is ended. Default 100,000,000. */
  maxOutputBytes?: number | undefined;
  /** Of what is written to `stdout` and `stderr`: `buffer` for the bytes themselves. Default `utf8`. */
  encoding?: E | undefined;
  /** Rejects with EXEC_FAILED for any other end than exit code 0. Default false: an exit code is a result. */
  reject?: boolean | undefined;
}

export interface ExecResult<T = string> extends ProcessExit {
  /** Empty for a stream that was taken otherwise. */
  readonly stdout: T;
  readonly stderr: T;
  readonly durationMs: number;
}

/** What happens to a command, in the order in which it does. */
export type ExecEvent<T = string> =
  | { readonly kind: 'stdout' | 'stderr'; readonly data: T }
  | ({ readonly kind: 'exit' } & ProcessExit);
