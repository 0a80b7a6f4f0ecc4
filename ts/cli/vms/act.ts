import { watchInterrupts } from '../interrupt.js';
import { reportError } from '../report.js';
import { EXIT_SOME_FAILED } from './each.js';
import { findVm } from './find.js';
import { type ListedVm, listVms } from './list.js';
import { printLines } from './output.js';

/**
 * Does something with each VM that is named, with all at once, and prints of each that it is done, as it was named and in that order;
 * or why it is not. What has begun is brought to its end, also when somebody wants this to end: `signal` then says to hurry.
 * @returns the exit code
 */
export async function actOn(
  references: readonly string[],
  act: (vm: ListedVm, signal: AbortSignal) => Promise<unknown>,
): Promise<number> {
  using interrupt = watchInterrupts();
  const list = listVms();
  const acts = new Map<string, Promise<unknown>>();
  const begun = references.map((reference) => {
    const vm = find(() => findVm(list, reference));
    // One that is named twice is meant once.
    const done = vm instanceof Error ? Promise.reject(vm) : (acts.get(vm.id) ?? act(vm, interrupt.signal));
    done.catch(() => undefined); // each has its turn
    if (!(vm instanceof Error)) {
      acts.set(vm.id, done);
    }
    return { reference, done };
  });
  let exitCode = 0;
  for (const { reference, done } of begun) {
    try {
      await done;
      exitCode = (await printLines([reference])) || exitCode;
    } catch (error) {
      reportError(error);
      exitCode ||= EXIT_SOME_FAILED;
    }
  }
  return interrupt.exitCode ?? exitCode;
}

function find(look: () => ListedVm): ListedVm | Error {
  try {
    return look();
  } catch (error) {
    return error as Error;
  }
}
