import { join } from 'node:path';
import { isValidVmId } from '../config/ids.js';
import type { KeeperState } from '../vmm/keeper-state.js';
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

type Answer = { id: string } & ({ state: KeeperState } | { problem: 'silent' | 'gone' });

const ANSWER_MS = 1_000;

/** The VMs below the runtime directory, by what their keepers say. */
export const vmsOf = perHost(async (host: Host): Promise<Vms> => {
  const ids = (await host.list(host.runtimeDir)).filter(isValidVmId);
  const answers = await Promise.all(ids.map((id) => ask(host, id)));
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

/** A doctor that finds no VM loads nothing to ask with. */
async function ask(host: Host, id: string): Promise<Answer> {
  const { askKeeper } = await import('../vmm/keeper-state.js');
  const state = await askKeeper(host.at(join(host.runtimeDir, id)), ANSWER_MS);
  return typeof state === 'string' ? { id, problem: state } : { id, state };
}
