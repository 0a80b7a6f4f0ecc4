import type { GuestProcess } from '../../guest/types.js';
import { type EnvironmentOptions, environmentOf } from '../environment.js';
import { exitCodeOf } from '../process-exit.js';
import { aborted, joinStreams } from '../streams.js';
import { attachTo, findRunningVm } from '../vms/attached.js';
import { refusal } from './refusal.js';
import { forwardSignals } from './signals.js';

export interface ExecOptions extends EnvironmentOptions {
  detach?: boolean;
  detachKeys?: string;
  interactive?: boolean;
  tty?: boolean;
  user?: string;
  workdir?: string;
}

/** Runs a command in a VM and gives its exit code. */
export async function exec(reference: string, command: readonly string[], options: ExecOptions): Promise<number> {
  const spawnOptions = { env: environmentOf(options), user: options.user, cwd: options.workdir };
  using signals = forwardSignals();
  try {
    if (options.tty && options.interactive) {
      (await import('../terminal/run.js')).assertTerminal();
    }
    await using vm = await attachTo(findRunningVm(reference), signals.ending);
    if (options.detach) {
      const left = await vm.spawn(command, { ...spawnOptions, detached: true, stdin: 'ignore' });
      left.release();
      return 0;
    }
    if (options.tty) {
      const { execAtTerminal } = await import('../terminal/exec.js');
      return await execAtTerminal(vm, command, spawnOptions, options, signals);
    }
    const child = await vm.spawn(command, spawnOptions);
    return await follow(child, options, signals);
  } catch (error) {
    return signals.exitCode ?? refusal(error);
  }
}

async function follow(
  child: GuestProcess,
  { interactive }: ExecOptions,
  signals: ReturnType<typeof forwardSignals>,
): Promise<number> {
  using _streams = joinStreams(child, { interactive });
  signals.to(child);
  // A process of which nothing is read any more does not say how it ended.
  const code = await Promise.race([child.wait().then(exitCodeOf), aborted(signals.ending)]);
  return signals.exitCode ?? code;
}
