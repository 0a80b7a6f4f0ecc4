import { reportError } from '../report.js';

/** Docker's: it could not be done for all that were named. */
export const EXIT_SOME_FAILED = 1;

/**
 * Does something for each of what was named, in this order, and says of each that fails why.
 * @returns the exit code
 */
export async function forEach(references: readonly string[], act: (reference: string) => unknown): Promise<number> {
  let exitCode = 0;
  for (const reference of references) {
    try {
      await act(reference);
    } catch (error) {
      reportError(error);
      exitCode = EXIT_SOME_FAILED;
    }
  }
  return exitCode;
}
