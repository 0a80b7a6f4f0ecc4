import { join } from 'node:path';
import { isValidVmId } from '../config/ids.js';
import { MAX_SOCKET_PATH_BYTES } from '../util/socket-path.js';
import { type Host, perHost } from './host.js';
import { familyOf, processTree, type VmProcess } from './processes.js';

export interface RunningVm {
  readonly id: string;
  readonly vmmPid: number;
  /** The VMM and all that it started. */
  readonly processes: readonly VmProcess[];
}

export interface Vms {
  readonly running: readonly RunningVm[];
  /** Ids of directories whose keeper is there and does not answer in time. */
  readonly silent: readonly string[];
  /** Names of directories that nobody runs a VM in. */
  readonly left: readonly string[];
}

/** What a keeper says of its VM. */
interface KeeperState {
  state: 'running' | 'exited';
  vmmPid: number;
}

type Answer = { id: string } & ({ state: KeeperState } | { problem: 'silent' | 'gone' });

const ANSWER_MS = 1_000;

/** The VMs below the runtime directory, by what their keepers say. */
export const vmsOf = perHost(async (host: Host): Promise<Vms> => {
  const ids = (await host.list(host.runtimeDir)).filter(isValidVmId);
  const answers = await Promise.all(ids.map((id) => askKeeper(host, id)));
  const alive = answers.filter((answer) => 'state' in answer && answer.state.state === 'running');
  const family = alive.length > 0 ? await familyOf(host) : new Map();
  const running = alive.map(async (answer) => {
    const { vmmPid } = (answer as { state: KeeperState }).state;
    return { id: answer.id, vmmPid, processes: await processTree(host, family, vmmPid) };
  });
  const troubled = (problem: string) =>
    answers.filter((answer) => 'problem' in answer && answer.problem === problem).map(({ id }) => id);
  return {
    running: (await Promise.all(running)).filter(({ processes }) => processes.length > 0),
    silent: troubled('silent'),
    left: troubled('gone'),
  };
});

/** By Node.js's own client: a doctor that asks once would wait longer for a better one to load than for all answers. */
async function askKeeper(host: Host, id: string): Promise<Answer> {
  const socketPath = host.at(join(host.runtimeDir, id, 'keeper.sock'));
  if (Buffer.byteLength(socketPath) > MAX_SOCKET_PATH_BYTES) {
    return { id, problem: 'gone' }; // no keeper can listen there, and a cut path would reach another
  }
  const { get } = await import('node:http');
  return await new Promise((resolve) => {
    const options = { socketPath, path: '/', agent: false, signal: AbortSignal.timeout(ANSWER_MS) };
    const request = get(options, async (response) => {
      try {
        const text = (await response.setEncoding('utf8').toArray()).join('');
        resolve({ id, state: JSON.parse(text) as KeeperState });
      } catch {
        resolve({ id, problem: 'silent' });
      }
    });
    request.on('error', ({ code }: NodeJS.ErrnoException) => {
      resolve({ id, problem: code === 'ENOENT' || code === 'ECONNREFUSED' ? 'gone' : 'silent' });
    });
  });
}
