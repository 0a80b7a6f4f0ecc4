import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { inspect } from 'node:util';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { requireTools, run } from '../../../ts/util/run.js';
import { processesNaming, until } from '../../support/leftovers.js';
import { scratchDirectory } from '../../support/scratch.js';

afterEach(() => void vi.unstubAllEnvs());

describe('run', () => {
  test('gives standard output, byte for byte, and takes standard input', async () => {
    const input = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    expect(await run('cat', [], { input })).toEqual(input);
  });

  test('passes arguments as they are, through no shell', async () => {
    const args = ['$HOME', '; echo x', '*', "'", '', 'a b', '\n'];
    expect((await run('printf', ['%s|', ...args])).toString()).toBe(args.map((each) => `${each}|`).join(''));
  });

  test('runs in a directory and an environment of its own, and in the C locale', async () => {
    await using scratch = await scratchDirectory();
    const env = { PATH: process.env.PATH, A: 'b', LC_ALL: 'de_DE.UTF-8' };
    const output = await run('sh', ['-c', 'pwd; echo $A $LC_ALL'], { cwd: scratch.path, env });
    expect(output.toString()).toBe(`${scratch.path}\nb C.UTF-8\n`);
  });

  test('a tool that fails: TOOL_FAILED with its exit code and the tail of what it said', async () => {
    const script = 'yes noise | head -n 10000 >&2; echo the last words >&2; exit 3';
    const error = await run('sh', ['-c', script]).catch((reason: unknown) => reason as Error);
    expect(error).toMatchObject({ code: 'TOOL_FAILED', details: { tool: 'sh', exitCode: 3, signal: null } });
    expect((error as Error).message).toMatch(/^sh exited with 3: [\s\S]*the last words$/);
    expect((error as Error).message.length).toBeLessThan(5_000);
  });

  test('what is passed on of a failed tool has no passwords of URLs in it', async () => {
    const url = 'http://me:secret@mirror.test/debian';
    const heard: string[] = [];
    const onStderr = (text: string) => void heard.push(text);
    const error = await run('sh', ['-c', 'echo "E: $1" >&2; exit 1', 'sh', url], { onStderr }).catch(
      (reason) => reason,
    );
    expect(error).toMatchObject({ code: 'TOOL_FAILED', message: expect.stringContaining('http://***@mirror.test') });
    expect(inspect([error, heard], { depth: null, showHidden: true })).not.toContain('secret');
  });

  test('a tool that is killed', async () => {
    await expect(run('sh', ['-c', 'kill -9 $$'])).rejects.toMatchObject({
      code: 'TOOL_FAILED',
      message: expect.stringContaining('SIGKILL'),
    });
  });

  test('a tool that exits without reading its input is judged by its exit status alone', async () => {
    expect(await run('true', [], { input: Buffer.alloc(1_000_000) })).toHaveLength(0);
  });

  test('a missing tool: TOOL_MISSING with the command that installs it', async () => {
    vi.stubEnv('PATH', '/nonexistent');
    await expect(run('mmdebstrap', [])).rejects.toMatchObject({
      code: 'TOOL_MISSING',
      message: expect.stringContaining('apt-get install mmdebstrap'),
      details: { tool: 'mmdebstrap' },
    });
  });

  test('a file that cannot be executed: TOOL_FAILED', async () => {
    await using scratch = await scratchDirectory();
    await writeFile(scratch.file('tool'), 'x', { mode: 0o644 });
    await expect(run(scratch.file('tool'), [])).rejects.toMatchObject({
      code: 'TOOL_FAILED',
      cause: { code: 'EACCES' },
    });
  });

  test('characters of its standard error stay whole', async () => {
    const pieces: string[] = [];
    const script = "printf '\\303' >&2; sleep 0.05; printf '\\274' >&2";
    await run('sh', ['-c', script], { onStderr: (text) => pieces.push(text) });
    expect(pieces.join('')).toBe('ü');
  });

  test('the signal kills it: CANCELED, when it is gone', async () => {
    await using scratch = await scratchDirectory();
    const controller = new AbortController();
    const pidFile = scratch.file('pid');
    const result = run('sh', ['-c', `trap '' TERM; echo $$ > ${pidFile}; exec sleep 1000`], {
      signal: controller.signal,
    });
    const pid = async () => (await readFile(pidFile, 'utf8').catch(() => '')).trim();
    await until(async () => (await pid()) !== '', 5_000, 'its start');
    controller.abort();
    await expect(result).rejects.toMatchObject({ code: 'CANCELED' });
    await expect(readFile(`/proc/${await pid()}/stat`)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('a signal that had aborted starts nothing', async () => {
    await using scratch = await scratchDirectory();
    const result = run('touch', [scratch.file('made')], { signal: AbortSignal.abort() });
    await expect(result).rejects.toMatchObject({ code: 'CANCELED' });
    await expect(readFile(scratch.file('made'))).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await processesNaming(scratch.path)).toEqual([]);
  });
});

describe('requireTools', () => {
  test('is content with what is there', async () => {
    await requireTools(['sh', 'cat']);
  });

  test('names everything that is missing, and one command for all of it', async () => {
    await using scratch = await scratchDirectory();
    await mkdir(scratch.file('bin'));
    await writeFile(scratch.file('bin', 'flock'), '', { mode: 0o755 });
    await writeFile(scratch.file('bin', 'xz'), '');
    await chmod(scratch.file('bin', 'xz'), 0o644);
    vi.stubEnv('PATH', `${scratch.file('absent')}:${scratch.file('bin')}`);
    await expect(requireTools(['flock', 'xz', 'mmdebstrap', 'unheard-of'])).rejects.toMatchObject({
      code: 'TOOL_MISSING',
      message: 'xz, mmdebstrap, unheard-of are not installed; install with: apt-get install xz-utils mmdebstrap',
      details: { tools: ['xz', 'mmdebstrap', 'unheard-of'] },
    });
  });
});

test('a tool whose offspring holds its output open does not hold up the caller', async () => {
  const script = `const child = require('child_process').spawn('sleep', ['1000'], { stdio: 'inherit', detached: true });
    console.log(child.pid);
    process.exit(0);`;
  const offspring = Number(await run(process.execPath, ['-e', script]));
  process.kill(offspring, 'SIGKILL');
});

test("a tool of the superuser's folders is found for a user whose PATH lacks them", async () => {
  vi.stubEnv('PATH', '/usr/bin:/bin');
  expect((await run('mke2fs', ['-V'])).toString()).toBe('');
  await requireTools(['mke2fs']);
});
