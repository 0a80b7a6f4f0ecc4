import { writeFile } from 'node:fs/promises';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { environmentOf, labelsOf } from '../../../ts/cli/environment.js';
import { scratchDirectory } from '../../support/scratch.js';

afterEach(() => void vi.unstubAllEnvs());

describe('the variables of the command line', () => {
  test('have a value, or take that of the host, or are left out; the later wins', () => {
    vi.stubEnv('SMARTVM_TEST_SET', 'host');
    const env = ['A=1', 'A=x=y\nz', 'EMPTY=', 'SMARTVM_TEST_SET', 'SMARTVM_TEST_UNSET'];
    expect(environmentOf({ env })).toEqual({ A: 'x=y\nz', EMPTY: '', SMARTVM_TEST_SET: 'host' });
    expect(environmentOf({})).toEqual({});
  });

  test('of files come first, without comments, quotes or an order mark', async () => {
    await using scratch = await scratchDirectory();
    vi.stubEnv('SMARTVM_TEST_SET', 'host');
    await writeFile(scratch.file('a'), '\ufeffA=file\r\n# B=no\n\n  C="quoted" # text\nSMARTVM_TEST_SET\nD=file');
    await writeFile(scratch.file('b'), 'D=second\n');
    const options = { env: ['A=own'], envFile: [scratch.file('a'), scratch.file('b')] };
    expect(environmentOf(options)).toEqual({ A: 'own', C: '"quoted" # text', SMARTVM_TEST_SET: 'host', D: 'second' });
  });

  test('are refused where they have no name, with the place', async () => {
    await using scratch = await scratchDirectory();
    await writeFile(scratch.file('a'), 'A=1\nexport B=2\n');
    const refusal = (message: string) => expect.objectContaining({ code: 'INVALID_OPTION', message });
    const words = `--env-file ${scratch.file('a')}:2: "export B" cannot be the name of a variable`;
    expect(() => environmentOf({ envFile: [scratch.file('a')] })).toThrow(refusal(words));
    expect(() => environmentOf({ env: ['=1'] })).toThrow(refusal('--env: "" cannot be the name of a variable'));
    expect(() => environmentOf({ envFile: [scratch.file('none')] })).toThrow('ENOENT');
  });
});

describe('the labels of the command line', () => {
  test('have a value or none', () => {
    expect(labelsOf(['a=1', 'b', 'c=', 'a=x=y'])).toEqual({ a: 'x=y', b: '', c: '' });
    expect(labelsOf()).toBeUndefined();
  });

  test.each(['', '=1', '__proto__=1'])('%j is none', (text) => {
    expect(() => labelsOf([text])).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  });
});
