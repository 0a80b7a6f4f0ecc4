import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Smartvm } from '../support/cli.js';
import { until } from '../support/leftovers.js';

const idle = 'while :; do sleep 1; done';

/** What the console of a VM has, without carriage returns. */
async function consoleOf(smartvm: Smartvm, id: string): Promise<string> {
  const text = await readFile(join(smartvm.runtimeDir, id, 'console.log'), 'utf8').catch(() => '');
  return text.replaceAll('\r', '');
}

describe('a VM of smartvm run --detach', () => {
  let smartvm: Smartvm;
  let id: string;

  const execute = async (...args: string[]) => await smartvm.run(['exec', ...args]);

  beforeAll(async () => {
    smartvm = await Smartvm.open();
    const options = ['--name', 'web', '-e', 'A=1', '-l', 'tier=front', '-w', '/etc', '--hostname', 'h1'];
    const script = `echo "$A $(pwd) $(hostname)"; ${idle}`;
    const { stdout, stderr, exitCode } = await smartvm.run(['run', '-d', ...options, '--', 'sh', '-c', script]);
    expect([stderr, exitCode]).toEqual(['', 0]);
    expect(stdout).toMatch(/^vm-[0-9a-f]{10}\n$/);
    id = stdout.trim();
  });

  afterAll(async () => {
    expect(await smartvm.run(['stop', '-t', '20', 'web'])).toEqual({ stdout: 'web\n', stderr: '', exitCode: 0 });
    expect(await smartvm.leftovers()).toEqual([]);
    await smartvm[Symbol.asyncDispose]();
  });

  it('runs its command, whose output is on the console', async () => {
    await until(async () => (await consoleOf(smartvm, id)).includes('1 /etc h1\n'), 30_000, 'the output');
  });

  it('has its name and labels in its record, and the name alone', async () => {
    const record = JSON.parse(await readFile(join(smartvm.runtimeDir, id, 'vm.json'), 'utf8'));
    expect(record).toMatchObject({ id, name: 'web', labels: { tier: 'front' }, detached: true });
    const other = await smartvm.run(['run', '-d', '--name', 'web']);
    expect(other).toMatchObject({ stdout: '', stderr: expect.stringContaining('[NAME_TAKEN]'), exitCode: 125 });
    expect(other.stderr).toContain(id);
    expect(await smartvm.vms()).toEqual([id]);
  });

  it('runs commands by its id, its name, or the beginning of its id, with what the VM gives them', async () => {
    for (const reference of [id, 'web', id.slice(0, 6)]) {
      const result = await execute(reference, 'sh', '-c', 'echo $A; pwd; exit 3');
      expect(result).toEqual({ stdout: '1\n/etc\n', stderr: '', exitCode: 3 });
    }
    const own = await execute('-e', 'A=2', '-w', '/', '-u', 'nobody', 'web', 'sh', '-c', 'echo $A; pwd; id -un >&2');
    expect(own).toEqual({ stdout: '2\n/\n', stderr: 'nobody\n', exitCode: 0 });
  });

  it.each([
    [['web', 'nosuch'], 127, 'nosuch: not found'],
    [['web', '/etc/passwd'], 126, 'permission denied'],
    [['-d', 'web', 'nosuch'], 127, '[EXEC_FAILED]'],
    [['web', 'sh', '-c', 'kill -TERM $$'], 143, ''],
    [['nosuch', 'true'], 125, '[VM_NOT_FOUND]'],
  ])('%j ends with exit code %i', async (args, exitCode, word) => {
    expect(await execute(...args)).toEqual({ stdout: '', stderr: expect.stringContaining(word), exitCode });
  });

  it('passes both directions of a pipe on, whole and with backpressure', async () => {
    const input = 'x'.repeat(3_000_000);
    const { stdout } = await smartvm.run(['exec', '-i', 'web', 'cat'], input);
    expect(stdout.length).toBe(input.length);
    expect(stdout).toBe(input);
  });

  it('leaves a detached command running, and what it prints is nowhere', async () => {
    const script = 'echo lost; touch /tmp/begun; while [ ! -e /tmp/end ]; do sleep 0.1; done; touch /tmp/ended';
    expect(await execute('-d', 'web', 'sh', '-c', script)).toEqual({ stdout: '', stderr: '', exitCode: 0 });
    const wait = 'touch /tmp/end; while [ ! -e /tmp/ended ]; do sleep 0.1; done; ls /tmp/begun';
    expect((await execute('web', 'sh', '-c', wait)).stdout).toBe('/tmp/begun\n');
    expect(await consoleOf(smartvm, id)).not.toContain('lost');
  });

  it('passes the first Ctrl-C on to the command, whose affair it is', async () => {
    const script = 'trap "echo caught; exit 9" INT; echo ready; while :; do sleep 0.1; done';
    const exec = smartvm.spawn('exec', 'web', 'sh', '-c', script);
    await exec.says('ready');
    exec.child.kill('SIGINT');
    expect(await exec.end()).toEqual({ stdout: 'ready\ncaught\n', stderr: '', exitCode: 9 });
  });

  it.each(['Ctrl-C twice', 'EPIPE'])(
    '%s ends a command that does not end, and leaves nothing in the guest',
    async (how) => {
      const script = 'trap "echo deaf" INT; echo ready; while :; do sleep 0.123; echo on; done';
      const exec = smartvm.spawn('exec', 'web', 'sh', '-c', script);
      await exec.says('ready');
      if (how === 'EPIPE') {
        exec.child.stdout.destroy();
      } else {
        exec.child.kill('SIGINT');
        await exec.says('deaf');
        exec.child.kill('SIGINT');
      }
      expect(await exec.exitCode()).toBe(how === 'EPIPE' ? 141 : 130);
      const gone = 'while grep -qs "sleep.0.12[3]" /proc/[0-9]*/cmdline; do sleep 0.1; done';
      const result = await execute('web', 'sh', '-c', gone);
      expect(result.exitCode).toBe(0);
    },
  );

  it('is paused and resumed, and runs no command meanwhile', async () => {
    expect(await smartvm.run(['pause', 'web'])).toEqual({ stdout: 'web\n', stderr: '', exitCode: 0 });
    const refused = await execute('web', 'true');
    expect(refused).toMatchObject({
      exitCode: 125,
      stderr: expect.stringMatching(/is paused; 'smartvm resume \S+' has it go on \[INVALID_STATE\]/),
    });
    expect(await smartvm.run(['resume', id])).toEqual({ stdout: `${id}\n`, stderr: '', exitCode: 0 });
    expect((await execute('web', 'true')).exitCode).toBe(0);
  });
});

describe('smartvm run --detach', () => {
  const ended = async (smartvm: Smartvm, id: string) =>
    until(
      async () => (await readdir(join(smartvm.runtimeDir, id)).catch(() => ['exit.json'])).includes('exit.json'),
      60_000,
      'the end',
    );

  it('ends the VM with its command, and says on the console how that ended; rm removes what is left', async () => {
    await using smartvm = await Smartvm.open();
    const { stdout } = await smartvm.run(['run', '-d', '--name', 'job', '--', 'sh', '-c', 'echo done; exit 3']);
    const id = stdout.trim();
    await ended(smartvm, id);
    expect(await consoleOf(smartvm, id)).toContain('done\nsmartvm-agent: the command has ended with exit code 3\n');
    const next = await smartvm.run(['run', '--name', 'job', '--', 'true']); // clears up behind others, and takes the name
    expect(next).toEqual({ stdout: '', stderr: '', exitCode: 0 });
    expect(await smartvm.leftovers()).toEqual([id]);
    expect(await smartvm.run(['ps', '-a', '--format', '{{.ID}} {{.ExitCode}}'])).toMatchObject({ stdout: `${id} 3\n` });
    expect((await smartvm.run(['logs', 'job'])).stdout).toContain('done\r\n');
    expect(await smartvm.run(['wait', 'job'])).toEqual({ stdout: '3\n', stderr: '', exitCode: 0 });
    const refused = await smartvm.run(['exec', 'job', 'true']);
    expect(refused).toMatchObject({ exitCode: 125, stderr: expect.stringContaining('does not start again') });
    expect(await smartvm.run(['rm', 'job'])).toEqual({ stdout: 'job\n', stderr: '', exitCode: 0 });
    expect(await smartvm.leftovers()).toEqual([]);
  });

  it('with --rm, leaves no directory when it ends', async () => {
    await using smartvm = await Smartvm.open();
    const { exitCode } = await smartvm.run(['run', '-d', '--rm', '--', 'true']);
    expect(exitCode).toBe(0);
    await until(async () => (await smartvm.vms()).length === 0, 60_000, 'the end of the VM');
    expect((await smartvm.run(['prune'])).exitCode).toBe(0);
    expect(await smartvm.leftovers()).toEqual([]);
  });

  it('of a command that there is not: exit code 127, and no VM', async () => {
    await using smartvm = await Smartvm.open();
    const result = await smartvm.run(['run', '-d', '--', 'nosuch']);
    expect(result).toEqual({ stdout: '', stderr: expect.stringContaining('nosuch: not found'), exitCode: 127 });
    expect(await smartvm.leftovers()).toEqual([]);
  });

  it.each(['directory', 'api'] as const)('Ctrl-C twice when there is %s leaves nothing', async (moment) => {
    await using smartvm = await Smartvm.open();
    const run = smartvm.spawn('run', '-d', '--name', 'web', '--', 'sh', '-c', idle);
    const reached = {
      directory: async () => (await smartvm.vms()).length > 0,
      api: async () =>
        (await readdir(smartvm.runtimeDir, { recursive: true })).some((name) => name.endsWith('api.sock')),
    };
    await until(reached[moment], 60_000, moment);
    run.child.kill('SIGINT');
    run.child.kill('SIGINT');
    expect([await run.exitCode(), run.stdout]).toEqual([130, '']);
    expect(await smartvm.leftovers()).toEqual([]);
  });

  it('ends a VM of whose id nobody hears', async () => {
    await using smartvm = await Smartvm.open();
    const run = smartvm.spawn('run', '-d', '--', 'sh', '-c', idle);
    run.child.stdout.destroy();
    expect(await run.exitCode()).toBe(141);
    expect(await smartvm.leftovers()).toEqual([]);
  });
});
