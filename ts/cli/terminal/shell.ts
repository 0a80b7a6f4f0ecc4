import { isSmartVMError, SmartVMError } from '../../errors.js';
import type { GuestProcess } from '../../guest/types.js';
import type { MicroVM } from '../../vm/micro-vm.js';
import { type EnvironmentOptions, environmentOf } from '../environment.js';
import { refusal } from '../exec/refusal.js';
import { forwardSignals } from '../exec/signals.js';
import { printableLine } from '../printable.js';
import { attachTo, findRunningVm } from '../vms/attached.js';
import { DetachKeys } from './detach-keys.js';
import { assertTerminal, useTerminal } from './run.js';
import { terminalSize } from './session.js';

/** Characters of a command line by which it is known again. */
const MAX_NAME = 40;

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
    return await rejoin(vm, options.join);
  }
  const { user, workdir: cwd } = options;
  const term = process.env.TERM;
  return await vm.openPty({ ...terminalSize(), term, env: environmentOf(options), user, cwd, detached: true });
}

/** @throws SmartVMError PROCESS_NOT_FOUND, which names those that are there */
async function rejoin(vm: MicroVM, pid: number): Promise<GuestProcess> {
  try {
    const joined = await vm.processes.connect(pid);
    joined.stderr.resume();
    return joined;
  } catch (error) {
    if (!isSmartVMError(error, 'PROCESS_NOT_FOUND')) {
      throw error;
    }
    const running = (await vm.processes.list()).filter(({ exit }) => !exit);
    const named = running.map(({ pid, argv }) => `${pid} (${printableLine(argv.join(' ')).slice(0, MAX_NAME)})`);
    const there = named.length === 0 ? 'none runs' : `those that run: ${named.join(', ')}`;
    throw new SmartVMError('PROCESS_NOT_FOUND', `${error.message}; ${there}`, { cause: error, details: { pid } });
  }
}
