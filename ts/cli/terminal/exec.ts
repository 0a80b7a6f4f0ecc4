import type { SpawnOptions } from '../../guest/types.js';
import type { MicroVM } from '../../vm/micro-vm.js';
import type { ExecOptions } from '../exec/exec.js';
import type { ForwardedSignals } from '../exec/signals.js';
import { DetachKeys } from './detach-keys.js';
import { useTerminal } from './run.js';
import { terminalSize } from './session.js';

/** Runs a command on a terminal of its own, which is that of this program where it has one, and gives its exit code. */
export async function execAtTerminal(
  vm: MicroVM,
  command: readonly string[],
  spawn: SpawnOptions,
  { interactive = false, detachKeys }: ExecOptions,
  signals: ForwardedSignals,
): Promise<number> {
  const keys = new DetachKeys(detachKeys);
  const child = await vm.openPty({
    ...spawn,
    ...terminalSize(),
    term: process.env.TERM,
    command,
    detached: interactive,
  });
  return await useTerminal(child, keys, interactive, signals, vm.id);
}
