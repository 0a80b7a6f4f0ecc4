import { SmartVMError } from '../../errors.js';

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const AGO = /^(?:\d+(?:\.\d+)?[smhd])+$/;

/**
 * A time as an option has it: ISO 8601, seconds since the epoch, or how long ago, such as `1h30m`.
 * @returns milliseconds since the epoch @throws SmartVMError INVALID_OPTION
 */
export function timeOf(option: string, text: string, now: number): number {
  if (AGO.test(text)) {
    const parts = [...text.matchAll(/([\d.]+)([smhd])/g)];
    return now - parts.reduce((sum, [, count, unit = '']) => sum + Number(count) * (UNITS[unit] ?? 0), 0);
  }
  const time = /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : /^\d{4}-/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(time)) {
    throw new SmartVMError(
      'INVALID_OPTION',
      `${option} ${JSON.stringify(text)} is no time: give one as 2026-01-31T12:00:00Z, seconds since 1970, or 10m for ten minutes ago`,
    );
  }
  return time;
}
