import { SmartVMError } from '../../errors.js';
import type { GuestProcess } from '../../guest/types.js';
import type { ForwardedSignals } from '../exec/signals.js';
import { exitCodeOf } from '../process-exit.js';
import { aborted } from '../streams.js';
import type { DetachKeys } from './detach-keys.js';
import { joinTerminal } from './session.js';

/** Without a terminal there is nothing to type at. @throws SmartVMError INVALID_OPTION */
export function assertTerminal(): void {
  if (!process.stdin.isTTY) {
    throw new SmartVMError(
      'INVALID_OPTION',
      "standard input is no terminal; 'smartvm exec -i' passes on what comes from a pipe or file",
    );
  }
}

/**
 * Has a user at a process of a guest, until that ends or the keys are typed by which it is left: then it goes on.
 * @param vm by which it is found again
 * @returns the exit code
 */
export async function useTerminal(
  child: GuestProcess,
  keys: DetachKeys,
  interactive: boolean,
  signals: ForwardedSignals,
  vm: string,
): Promise<number> {
  signals.to(child);
  let left = false;
  let code: number;
  {
    using session = joinTerminal(child, keys, interactive, () => signals.hangUp());
    const leave = session.detached.then(() => {
      left = true;
      child.release();
      return 0;
    });
    const end = child.wait().then(async (exit) => {
      await session.written;
      return exitCodeOf(exit);
    });
    end.catch(() => undefined); // of one that was left
    code = await Promise.race([end, leave, aborted(signals.ending)]);
  }
  if (left) {
    process.stderr.write(`\nleft; it goes on as process ${child.pid}: smartvm shell --join ${child.pid} ${vm}\n`);
  }
  return signals.exitCode ?? code;
}
