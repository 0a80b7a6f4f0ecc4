import { readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { main } from '../../../ts/cli/main.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

let scratch: ScratchDirectory;
let [stdout, stderr] = ['', ''];

beforeEach(async () => {
  scratch = await scratchDirectory();
  vi.stubEnv('SMARTVM_DATA_DIR', scratch.file('data'));
  vi.stubEnv('SMARTVM_RUNTIME_DIR', scratch.file('run'));
  [stdout, stderr] = ['', ''];
  const toStdout = (text: unknown) => {
    stdout += text;
    return true;
  };
  const toStderr = (text: unknown) => {
    stderr += text;
    return true;
  };
  vi.spyOn(process.stdout, 'write').mockImplementation(toStdout);
  vi.spyOn(process.stderr, 'write').mockImplementation(toStderr);
  vi.spyOn(console, 'log').mockImplementation((text) => void toStdout(`${text}\n`));
  vi.spyOn(console, 'error').mockImplementation((text) => void toStderr(`${text}\n`));
});

afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  const made = await readdir(scratch.path);
  await scratch[Symbol.asyncDispose]();
  expect(made).toEqual([]);
});

describe('smartvm', () => {
  test('--version prints the version of the package', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
    expect(await main(['--version'])).toBe(0);
    expect([stdout, stderr]).toEqual([`${version}\n`, '']);
  });

  test.each([[['--help']], [['run', '--help']], [['help']], [['help', 'run']]])('%j prints the help', async (args) => {
    expect(await main(args)).toBe(0);
    expect(stdout).toMatch(/^Usage: smartvm /);
    expect(stderr).toBe('');
  });

  test.each<[string, string[], RegExp]>([
    ['no command', [], /Usage: smartvm/],
    ['a command that there is not', ['fly'], /unknown command 'fly'\nSee 'smartvm --help'/],
    ['a slip of the finger', ['rnu'], /unknown command 'rnu'\n\(Did you mean run\?\)/],
    ['help for a command that there is not', ['help', 'fly'], /Usage: smartvm/],
    ['a shell that there is not', ['completion', 'tcsh'], /Allowed choices are bash, zsh, fish/],
    ['an option that there is not', ['run', '--fly', '--', 'true'], /unknown option '--fly'\nSee 'smartvm run --help'/],
    ['nothing to run', ['run'], /missing required argument 'command'/],
    ['a timeout of what nobody waits for', ['run', '-d', '--timeout', '1', '--', 'true'], /--ttl ends the VM/],
    ['input for what nobody waits for', ['run', '-d', '-i'], /--interactive is for a command that is waited for/],
    ['nothing to execute', ['exec', 'web'], /missing required argument 'command'/],
    ['no VM to stop', ['stop'], /missing required argument 'vm'/],
    ['a time that is none', ['stop', '-t', 'soon', 'web'], /--time <seconds>/],
    ['a format that there is not', ['prune', '--format', 'xml'], /Allowed choices are table, json/],
    ['no CPUs', ['run', '--cpus', '0', '--', 'true'], /--cpus <n>.*whole number of at least 1, at most 32/],
    ['33 CPUs', ['run', '--cpus', '33', '--', 'true'], /--cpus/],
    ['half a CPU', ['run', '--cpus', '0.5', '--', 'true'], /--cpus/],
    ['memory with a unit', ['run', '--memory', '1G', '--', 'true'], /--memory <MiB>.*whole number of at least 96/],
    ['too little memory', ['run', '--memory', '63', '--', 'true'], /--memory/],
    ['a queue of no time', ['run', '--queue', '0', '--', 'true'], /--queue <seconds>.*over 0/],
    ['a timeout of 0', ['run', '--timeout', '0', '--', 'true'], /--timeout <seconds>.*over 0/],
    ['a timeout that is none', ['run', '--timeout', 'soon', '--', 'true'], /--timeout/],
    ['an endless timeout', ['run', '--timeout', 'Infinity', '--', 'true'], /--timeout/],
  ])('%s: exit code 125 and a word about it', async (_what, args, message) => {
    expect(await main(args)).toBe(125);
    expect(stderr).toMatch(message);
    expect(stdout).toBe('');
  });

  test.each<[string, string[], string]>([
    ['more memory than the host has', ['--memory', '999999999'], 'MEMORY_EXCEEDED'],
    ['an image that there is not', ['--image', '\u001b[2Jplan9'], 'IMAGE_UNKNOWN'],
  ])('%s: exit code 125, one line with the code, nothing made', async (_what, args, code) => {
    expect(await main(['run', ...args, '--', 'true'])).toBe(125);
    expect(stderr).toMatch(new RegExp(`^smartvm: .* \\[${code}\\]\\n$`));
    expect(stderr).not.toContain('\u001b');
    expect(stdout).toBe('');
  });

  test('for a user who cannot jail: one line that says so, and none with --no-jail', async () => {
    vi.spyOn(process, 'getuid').mockReturnValue(1000);
    const tooMuch = ['--memory', '999999999', '--', 'true'];
    expect(await main(['run', '--no-jail', ...tooMuch])).toBe(125);
    expect(stderr).toMatch(/^smartvm: [^\n]* \[MEMORY_EXCEEDED\]\n$/);
    stderr = '';
    expect(await main(['run', ...tooMuch])).toBe(125);
    expect(stderr).toMatch(
      /^smartvm: warning: VMMs run unjailed, [^\n]*`--no-jail` silences this \[SMARTVM_UNJAILED\]\nsmartvm: [^\n]* \[MEMORY_EXCEEDED\]\n$/,
    );
  });
});
