import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { currentBootId, isActiveSync, isAlive, processIdentity } from '../../../ts/util/process-identity.js';
import { halfEnded } from '../../support/half-ended.js';
import { until } from '../../support/leftovers.js';
import { scratchDirectory } from '../../support/scratch.js';

describe('processIdentity', () => {
  test('of this process', async () => {
    const identity = await processIdentity(process.pid);
    expect(identity).toEqual({
      pid: process.pid,
      startTime: expect.stringMatching(/^\d+$/),
      bootId: currentBootId(),
    });
    expect(await isAlive(identity ?? never())).toBe(true);
    expect(isActiveSync(identity ?? never(), currentBootId())).toBe(true);
  });

  test('of a process with a name that looks like the end of its name', async () => {
    await using scratch = await scratchDirectory();
    await copyFile('/bin/sleep', scratch.file(') Z 1 (x'));
    const child = spawn(scratch.file(') Z 1 (x'), ['1000'], { stdio: 'ignore' });
    try {
      await once(child, 'spawn');
      const identity = await processIdentity(child.pid ?? never());
      const stat = await readFile(`/proc/${child.pid}/stat`, 'utf8');
      expect(stat).toContain('() Z 1 (x)');
      expect(identity?.startTime).toBe(stat.trim().split(' ').at(-31));
    } finally {
      child.kill('SIGKILL');
      await once(child, 'close');
    }
  });

  test('there is none of a pid that nobody has', async () => {
    expect(await processIdentity(2 ** 22 + 1)).toBeUndefined();
  });

  test('a process whose first thread has ended lives while another does, and is not active', async () => {
    await using process = await halfEnded();
    expect(await isAlive(process.identity)).toBe(true);
    expect(isActiveSync(process.identity, process.identity.bootId)).toBe(false);
  });

  test('a zombie is dead', async () => {
    // The shell becomes a program that never waits for the child that it has inherited.
    const script = 'sleep 1001 & echo $!; exec sleep 1000';
    const parent = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore'] });
    try {
      const [line] = (await once(parent.stdout, 'data')) as [Buffer];
      const pid = Number(line.toString());
      const commandLine = () => readFile(`/proc/${parent.pid}/cmdline`, 'utf8');
      await until(async () => (await commandLine()) === 'sleep\x001000\0', 5_000, 'the change of the shell');
      process.kill(pid, 'SIGKILL');
      const state = async () => (await readFile(`/proc/${pid}/stat`, 'utf8')).split(' ')[2];
      await until(async () => (await state()) === 'Z', 5_000, 'the zombie');
      expect(await processIdentity(pid)).toBeUndefined();
    } finally {
      parent.kill('SIGKILL');
      await once(parent, 'close');
    }
  });
});

describe('isAlive', () => {
  test('is false once the process has ended', async () => {
    const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
    await once(child, 'spawn');
    const identity = (await processIdentity(child.pid ?? never())) ?? never();
    expect(await isAlive(identity)).toBe(true);
    child.kill('SIGKILL');
    await once(child, 'close');
    expect(await isAlive(identity)).toBe(false);
  });

  test('is false for a pid that another process has now, and after a reboot', async () => {
    const identity = (await processIdentity(process.pid)) ?? never();
    expect(await isAlive({ ...identity, startTime: '1' })).toBe(false);
    expect(await isAlive({ ...identity, bootId: '00000000-0000-0000-0000-000000000000' })).toBe(false);
  });
});

function never(): never {
  throw new Error('this process lives');
}
