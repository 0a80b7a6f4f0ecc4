/** Firecracker's exit codes, where this program has a use for them. */
export const EXIT = {
  ok: 0,
  error: 1,
  badConfiguration: 152,
  badArguments: 153,
  hangup: 156,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Ends the program with a reason; nothing else is wrong with it than that. */
export class FatalError extends Error {
  override readonly name = 'FatalError';

  constructor(
    message: string,
    readonly exitCode: ExitCode,
  ) {
    super(message);
  }
}
