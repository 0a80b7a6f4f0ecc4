import { InvalidArgumentError } from 'commander';

const MAX_SECONDS = 2_000_000;

/** Of an option: a whole number; both bounds belong to the range. */
export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) {
      throw new InvalidArgumentError(`It is a whole number of at least ${min}${max < 1e6 ? `, at most ${max}` : ''}.`);
    }
    return value;
  };
}

/** Of an option: a time that is not over at once. */
export function seconds(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= MAX_SECONDS)) {
    throw new InvalidArgumentError(`It is a number of seconds over 0 and up to ${MAX_SECONDS}.`);
  }
  return value;
}

/** Of an option: a time that may be none. */
export function secondsOrNone(text: string): number {
  return /^0+$/.test(text) ? 0 : seconds(text);
}

/** Of an option that can be given several times. */
export function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

/** Undefined stays so. */
export function milliseconds(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : Math.ceil(seconds * 1000);
}
