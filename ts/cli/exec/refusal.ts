import { exitCodeOfRefusal } from '../process-exit.js';
import { reportError } from '../report.js';

/** The exit code for a command that could not be executed, which is reported; any other error is thrown on. */
export function refusal(error: unknown): number {
  const exitCode = exitCodeOfRefusal(error);
  if (exitCode === undefined) {
    throw error;
  }
  reportError(error);
  return exitCode;
}
