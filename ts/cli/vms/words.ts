/** Units of time from the longest on, in seconds. */
const UNITS = [
  ['year', 365 * 86_400],
  ['month', 30 * 86_400],
  ['week', 7 * 86_400],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
  ['second', 1],
] as const;
/** How many of a unit there must be before it is used: 36 hours say more than a day. */
const AT_LEAST: Readonly<Record<string, number>> = { year: 2, month: 2, week: 2, day: 2 };

/** A time that has passed, in one number and one word: `5 minutes`. */
export function durationInWords(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  for (const [unit, length] of UNITS) {
    const count = Math.floor(seconds / length);
    if (count >= (AT_LEAST[unit] ?? 1)) {
      return count === 1 ? `1 ${unit}` : `${count} ${unit}s`;
    }
  }
  return 'less than a second';
}

const BYTES = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** An amount of bytes with three or four digits that count: `12.5MiB`. */
export function bytesInWords(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), BYTES.length - 1);
  const value = bytes / 1024 ** power;
  const digits = power === 0 ? 0 : value < 10 ? 2 : value < 100 ? 1 : 0;
  return `${value.toFixed(digits)}${BYTES[power]}`;
}
