import { afterEach, beforeEach, expect } from 'vitest';

/** Fails each test of a file in which Node warns, such as of listeners that gather on an emitter. */
export function failOnWarnings(): void {
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => void warnings.push(warning);
  beforeEach(() => void process.on('warning', onWarning));
  afterEach(() => {
    process.off('warning', onWarning);
    expect(warnings.splice(0)).toEqual([]);
  });
}
