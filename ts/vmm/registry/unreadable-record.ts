/** Of what this release writes. It reads no other: what it does not know it does not act on. */
export const RECORD_VERSION = 1;
export const MAX_RECORD_BYTES = 2 ** 20;

/** Why a record is not acted on. `newer`: another release of SmartVM wrote it. */
export type RecordProblem = 'missing' | 'newer' | 'corrupt';

export class UnreadableRecord extends Error {
  readonly problem: RecordProblem;

  constructor(problem: RecordProblem, message: string, options?: ErrorOptions) {
    super(message, options);
    this.problem = problem;
  }
}

/** JSON that is of a version which is known here. @throws UnreadableRecord */
export function parseVersioned(content: string, parse: (text: string) => unknown): unknown {
  let value: unknown;
  try {
    value = parse(content);
  } catch (cause) {
    throw new UnreadableRecord('corrupt', `it is not the JSON of a record: ${(cause as Error).message}`, { cause });
  }
  const { version } = Object(value) as { version?: unknown };
  if (typeof version === 'number' && version > RECORD_VERSION) {
    throw new UnreadableRecord('newer', `it is of version ${version}, and this release knows ${RECORD_VERSION}`);
  }
  return value;
}
