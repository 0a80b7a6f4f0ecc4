import { get } from 'node:http';
import { LineSplitter } from '../util/line-splitter.js';
import type { VmmExit } from './exit.js';
import type { VmStatus } from './registry/state.js';

/** What a keeper tells of its VM: what has happened, and how it stands then. */
export interface KeeperEvent extends Partial<VmStatus> {
  /** ISO 8601. */
  readonly time: string;
  /** `state`, the first of all, says how it stands; `limits`: they were changed; `deadline`: one was reached; `exit` is the last. */
  readonly event: 'state' | 'start' | 'pause' | 'resume' | 'limits' | 'deadline' | 'stop' | 'exit';
  /** Of a `deadline`. */
  readonly cause?: 'timeout' | 'idle-timeout';
  /** Of a `deadline`. */
  readonly action?: 'stop' | 'pause';
  /** Of an `exit`. */
  readonly exit?: VmmExit;
}

/**
 * Hears a keeper's events, by a connection of its own which does not keep this program from ending. Never rejects.
 * @param from `now`: from now on, and first how it stands; `start`: those that it has kept, and then those that come
 * @returns at the end of the VM its exit; undefined when the keeper is not there, hung up, or the signal came
 */
export function hearKeeper(
  socketPath: string,
  onEvent: (event: KeeperEvent) => void,
  signal: AbortSignal,
  from: 'now' | 'start' = 'now',
): Promise<VmmExit | undefined> {
  return new Promise((resolve) => {
    let exit: VmmExit | undefined;
    const path = from === 'now' ? '/events?from=now' : '/events';
    const request = get({ socketPath, path, agent: false, signal }, (response) => {
      const lines = new LineSplitter();
      const end = () => resolve(exit);
      response.on('data', (chunk: Buffer) => {
        for (const line of lines.push(chunk)) {
          const event = parseEvent(line);
          exit ??= event?.exit;
          if (event) {
            onEvent(event);
          }
        }
      });
      response.on('error', end).on('close', end);
    });
    request.on('socket', (socket) => socket.unref());
    request.on('error', () => resolve(exit));
  });
}

function parseEvent(line: string): KeeperEvent | undefined {
  try {
    return JSON.parse(line) as KeeperEvent;
  } catch {
    return undefined; // not a keeper's word
  }
}
