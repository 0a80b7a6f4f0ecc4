import { constants } from 'node:os';
import type { ProcessExit } from '../guest/types.js';

/** As timeout(1). */
export const EXIT_TIMED_OUT = 124;
/** As a shell, when a command is there and cannot be executed. */
const EXIT_CANNOT_EXECUTE = 126;

/** As a shell has it: 128 + the number of the signal that ended the command. */
export function exitCodeOf(exit: ProcessExit): number {
  return exit.exitCode ?? 128 + (constants.signals[exit.signal ?? 'SIGKILL'] ?? 0);
}

/** That of a command of which EXEC_FAILED says that it could not be executed; undefined for any other error. */
export function exitCodeOfRefusal(error: unknown): number | undefined {
  const { code, details } = error as { code?: unknown; details?: { exitCode?: unknown } };
  return code === 'EXEC_FAILED' ? Number(details?.exitCode ?? EXIT_CANNOT_EXECUTE) : undefined;
}
