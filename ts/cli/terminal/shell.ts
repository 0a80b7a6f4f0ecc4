import type { GuestProcess } from '../../guest/types.js';
import type { MicroVM } from '../../vm/micro-vm.js';
import { type EnvironmentOptions, environmentOf } from '../environment.js';
import { refusal } from '../exec/refusal.js';
import { forwardSignals } from '../exec/signals.js';
import { attachTo, findRunningVm } from '../vms/attached.js';
import { DetachKeys } from './detach-keys.js';
import { assertTerminal, useTerminal } from './run.js';
import { terminalSize } from './session.js';

export interface ShellOptions extends EnvironmentOptions {
  detachKeys?: string;
  join?: number;
  user?: string;
  workdir?: string;
}

/** Has a user at a shell of a VM, and gives its exit code. */
export async function shell(reference: string, options: ShellOptions): Promise<number> {
  const keys = new DetachKeys(options.detachKeys);
  assertTerminal();
  using signals = forwardSignals();
  try {
    await using vm = await attachTo(findRunningVm(reference), signals.ending);
    return await useTerminal(await open(vm, options), keys, true, signals, vm.id);
  } catch (error) {
    return signals.exitCode ?? refusal(error);
  }
}

async function open(vm: MicroVM, options: ShellOptions): Promise<GuestProcess> {
  if (options.join !== undefined) {
    const joined = await vm.processes.connect(options.join);
    joined.stderr.resume();
    return joined;
  }
  const { user, workdir: cwd } = options;
  const term = process.env.TERM;
  return await vm.openPty({ ...terminalSize(), term, env: environmentOf(options), user, cwd, detached: true });
}
