import { describe, expect, test } from 'vitest';
import { assertJailOptions, DEFAULT_UID_RANGE } from '../../../ts/config/jail.js';

const problemsOf = (options: unknown): unknown => {
  try {
    assertJailOptions(options);
    return [];
  } catch (error) {
    expect(error).toMatchObject({ code: 'INVALID_OPTION' });
    return (error as { details: { errors: unknown } }).details.errors;
  }
};

describe('assertJailOptions', () => {
  test.each([
    [true],
    [false],
    [{}],
    [{ jailerBinaryPath: '/usr/bin/jailer', cgroups: 'none', uidRange: DEFAULT_UID_RANGE }],
    [{ limits: { memoryOverheadMib: 1, cpuPercent: 1, pids: 1, openFiles: 64, fileSizeMib: 1 } }],
    [{ limits: { ioBytesPerSecond: 1, ioOperationsPerSecond: 1 } }],
    [{ uidRange: { first: 2 ** 32 - 4, count: 2 } }],
  ])('takes %j', (options) => {
    expect(problemsOf(options)).toEqual([]);
  });

  test.each([
    ['yes', /^jail must be/],
    [{ uid: 1 }, /^jail\.uid /],
    [{ cgroups: 'some' }, /^jail\.cgroups must be/],
    [{ jailerBinaryPath: '' }, /^jail\.jailerBinaryPath must/],
    [{ uidRange: { first: 1000 } }, /^jail\.uidRange\.count is required|^jail\.uidRange\.count/],
    [{ uidRange: { first: 0, count: 10 } }, /^jail\.uidRange\.first must/], // root is no uid for a VM
    [{ uidRange: { first: 2 ** 32 - 4, count: 3 } }, /^jail\.uidRange must end at 4294967293 or below/],
    [{ limits: { pids: 0 } }, /^jail\.limits\.pids must/],
    [{ limits: { openFiles: 63 } }, /^jail\.limits\.openFiles must/],
    [{ limits: { cpuPercent: 1.5 } }, /^jail\.limits\.cpuPercent must/],
    [{ limits: { memory: 1 } }, /^jail\.limits\.memory /],
  ])('refuses %j', (options, problem) => {
    expect(problemsOf(options)).toEqual([expect.stringMatching(problem)]);
  });
});
