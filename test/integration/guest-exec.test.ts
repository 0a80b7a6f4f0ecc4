import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ExecEvent } from '../../ts/guest/exec-types.js';
import type { GuestProcess } from '../../ts/guest/types.js';
import { SmartVM } from '../../ts/smartvm.js';
import type { MicroVM } from '../../ts/vm/micro-vm.js';
import { cli } from '../support/cli.js';
import { type Bench, openBench } from '../support/debian-vm.js';
import { GUEST_INITS, isSecondRun } from '../support/guest-init.js';
import { until } from '../support/leftovers.js';
import { expectSlowReading } from '../support/slow-reading.js';

const MIB = 1024 * 1024;
/** For what hangs. */
const LIMIT = 60_000;

describe.each(GUEST_INITS)('commands and processes of a guest whose init is that of the %s', (init) => {
  let bench: Bench;
  let vm: MicroVM;

  beforeAll(async () => {
    bench = await openBench();
    vm = await bench.smartvm.launch({ id: 'guest', memSizeMib: 256, init, startTimeoutMs: 240_000 });
  }, 300_000);

  afterAll(async () => {
    await bench[Symbol.asyncDispose]();
  });

  const shell = async (script: string): Promise<string> =>
    (await vm.exec(script, { shell: true, reject: true, timeoutMs: LIMIT })).stdout;

  /** What a process has written since it began, with the children that it has waited for. */
  const writtenBy = async (pid: number) => Number(/^wchar: (\d+)$/m.exec(await shell(`cat /proc/${pid}/io`))?.[1]);

  it.skipIf(isSecondRun(init))(
    'gives 128 MiB to a reader that sleeps, whole, without taking them into memory',
    async () => {
      await expectSlowReading(vm, 128);
    },
    600_000,
  );

  it('takes 4 MiB of all byte values as fast as the guest reads, and passes them on unchanged', async () => {
    const block = Buffer.from(Array.from({ length: MIB }, (_, index) => (index * 7 + (index >> 8)) & 0xff));
    async function* blocks() {
      for (let count = 0; count < 4; count++) {
        yield block;
      }
    }
    const { stdout } = await vm.exec(['cat'], { stdin: blocks(), encoding: 'buffer' });
    expect(stdout.length).toBe(4 * MIB);
    for (let at = 0; at < stdout.length; at += MIB) {
      expect(stdout.compare(block, 0, MIB, at, at + MIB)).toBe(0);
    }
  });

  it('tells events while they happen', async () => {
    const events: ExecEvent[] = [];
    const input = new TransformStream<Uint8Array>();
    const writer = input.writable.getWriter();
    for await (const event of vm.exec(['sh', '-c', 'echo up; read line; echo $line >&2; exit 5'], {
      stdin: input.readable as unknown as AsyncIterable<Uint8Array>,
    })) {
      events.push(event);
      if (event.kind === 'stdout') {
        void writer.write(Buffer.from('answer\n'));
      }
    }
    expect(events).toEqual([
      { kind: 'stdout', data: 'up\n' },
      { kind: 'stderr', data: 'answer\n' },
      { kind: 'exit', exitCode: 5, signal: null },
    ]);
  });

  it('ends the whole process group of a command that is canceled, or whose loop is left', async () => {
    const script = 'sleep 4242 & sleep 4243 & echo up; wait';
    for await (const _event of vm.exec(script, { shell: true })) {
      break;
    }
    const controller = new AbortController();
    const run = vm.exec(script, { shell: true, signal: controller.signal });
    run.stdout.once('data', () => controller.abort());
    await expect(run).rejects.toMatchObject({ code: 'CANCELED', isCanceled: true });
    expect(await shell('until ! grep -lzs ^424[23] /proc/[0-9]*/cmdline; do :; done; echo none')).toMatch(/none\n$/);
  });

  it('ends what a program that is killed has running in it, but not what is detached', async () => {
    const running = async () => Number(await shell('grep -lzs ^424[56] /proc/[0-9]*/cmdline | wc -l'));
    await using program = cli(bench.runtimeDir, 'exec', 'guest', 'sh', '-c', 'sleep 4245 & echo up; exec sleep 4246');
    await program.says('up');
    const detached = cli(bench.runtimeDir, 'exec', '-d', 'guest', 'sleep', '42470');
    expect(await detached.end()).toMatchObject({ exitCode: 0 });
    await until(async () => (await running()) === 2, LIMIT, 'what it runs');
    program.child.kill('SIGKILL');
    await until(async () => (await running()) === 0, LIMIT, 'the end of what it ran');
    const stays = (await vm.processes.list()).find(({ argv }) => argv.at(-1) === '42470');
    expect(stays).toMatchObject({ detached: true, exit: undefined });
    await vm.processes.kill(stays?.pid ?? 0, 'SIGKILL');
  });

  it('holds a command to its limits', async () => {
    const hungry = vm.exec('head -c 100M /dev/zero | tail; true', { shell: true, limits: { memoryMib: 16 } });
    expect(await hungry).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
    const many = await vm.exec('for i in 1 2 3 4 5 6; do sleep 60 & done; echo all', {
      shell: true,
      limits: { processes: 4, cpus: 0.5 },
    });
    expect(many).toMatchObject({ stdout: '', stderr: expect.stringMatching(/fork/i) });
    await expect(vm.spawn(['true'], { limits: { processes: 0 } })).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });

  it('goes on with a guest whose disk is full', async () => {
    const { availableBytes } = (await vm.guestMetrics()).disk;
    await vm.exec(['fallocate', '-l', `${availableBytes - MIB}`, '/root/filler']);
    const full = await vm.exec(['dd', 'if=/dev/zero', 'of=/root/rest', 'bs=64K']);
    expect(full).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('No space left on device') });
    expect((await vm.guestMetrics()).disk.availableBytes).toBeLessThan(16 * MIB);
    expect(await shell('echo alive')).toBe('alive\n');
    await shell('rm /root/filler /root/rest');
    expect((await vm.guestMetrics()).disk.availableBytes).toBeGreaterThan(64 * MIB);
  });

  it('tells how it fares', async () => {
    const { uptimeMs, cpu, memory, processes } = await vm.guestMetrics();
    expect(uptimeMs).toBeGreaterThan(0);
    expect(cpu).toMatchObject({ count: 1, load: expect.any(Array) });
    expect(cpu.userMs + cpu.systemMs + cpu.idleMs).toBeGreaterThan(0);
    expect(memory.totalBytes).toBeGreaterThan(128 * MIB);
    expect(memory.totalBytes).toBeLessThanOrEqual(256 * MIB);
    expect(processes.total).toBeGreaterThanOrEqual(1);
  });

  it('has the clock that it is given, and that of the host when it resumes', async () => {
    const guestTime = async () => Number(await shell('date +%s')) * 1000;
    await vm.setClock(new Date('2030-01-02T03:04:05Z'));
    expect(await shell('date -u +%F')).toBe('2030-01-02\n');
    await vm.pause();
    await vm.resume();
    const begin = Date.now() - 1_000; // the guest's are whole seconds
    const time = await guestTime();
    expect(time).toBeGreaterThanOrEqual(begin);
    expect(time).toBeLessThanOrEqual(Date.now() + 1_000);
    await expect(vm.setClock(new Date(Number.NaN))).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });

  describe('a process that is detached', () => {
    const script = 'echo one; read line; echo got $line; seq 200000; read line; exit 3';
    let child: GuestProcess;

    beforeAll(async () => {
      child = await vm.spawn(['sh', '-c', script], { detached: true, cwd: '/usr' });
      child.release();
    });

    it('is listed, and reached by another program, which its input and output go to', async () => {
      const listed = (await vm.processes.list()).find(({ pid }) => pid === child.pid);
      expect(listed).toMatchObject({ argv: ['sh', '-c', script], cwd: '/usr', user: 'root', detached: true });
      expect(listed?.exit).toBeUndefined();
      await using other = new SmartVM({ runtimeDir: bench.runtimeDir });
      const attached = await other.attach('guest');
      const joined = await attached.processes.connect(child.pid);
      joined.stdin.write('words\n');
      let said = '';
      for await (const chunk of joined.stdout) {
        said += chunk;
        if (said.includes('got words')) {
          break;
        }
      }
      expect(said).toMatch(/^one\ngot words\n/);
      joined.release();
      await attached.release();
    });

    it('goes on while nobody reads, and the end of its output is kept', async () => {
      const all = Array.from({ length: 200_000 }, (_, index) => `${index + 1}\n`).join('');
      await until(async () => (await writtenBy(child.pid)) > all.length, LIMIT, 'the end of its writing');
      const joined = await vm.processes.connect(child.pid);
      joined.stderr.resume();
      expect(joined.dropped).toBeGreaterThan(MIB / 2);
      joined.stdin.end('\n');
      const kept = await text(joined.stdout);
      expect(kept.length).toBeGreaterThan(128 * 1024);
      expect(kept.length).toBeLessThanOrEqual(256 * 1024);
      expect(all.endsWith(kept)).toBe(true);
      expect(await joined.wait()).toEqual({ exitCode: 3, signal: null });
    });

    it('tells how it ended, whoever asks', async () => {
      const listed = (await vm.processes.list()).find(({ pid }) => pid === child.pid);
      expect(listed?.exit).toEqual({ exitCode: 3, signal: null });
      await expect(vm.processes.kill(child.pid)).rejects.toMatchObject({ code: 'PROCESS_NOT_FOUND' });
      await expect(vm.processes.connect(1)).rejects.toMatchObject({ code: 'PROCESS_NOT_FOUND' });
    });

    it('is started from the command line, and stopped, resumed and ended from here', async () => {
      const left = cli(bench.runtimeDir, 'exec', '-d', 'guest', 'sh', '-c', 'cat; echo from there; sleep 4244');
      expect(await left.end()).toEqual({ stdout: '', stderr: '', exitCode: 0 });
      const found = (await vm.processes.list()).find(({ argv }) => argv.at(-1)?.includes('from there'));
      const joined = await vm.processes.connect(found?.pid ?? 0);
      joined.stderr.resume();
      expect(`${(await once(joined.stdout, 'data'))[0]}`).toBe('from there\n');
      const state = async () => /^State:\s+(\w)/m.exec(await shell(`cat /proc/${joined.pid}/status`))?.[1];
      await vm.processes.kill(joined.pid, 'SIGSTOP');
      await until(async () => (await state()) === 'T', LIMIT, 'its stop');
      await vm.processes.kill(joined.pid, 'SIGCONT');
      await until(async () => (await state()) !== 'T', LIMIT, 'its going on');
      await vm.processes.kill(joined.pid);
      expect(await joined.wait()).toEqual({ exitCode: null, signal: 'SIGTERM' });
    });
  });

  it('when its agent crashes, tells those who wait, and ends the VM', async () => {
    const exit = new Promise((resolve) => vm.once('exit', resolve));
    const pending = vm.exec(['sleep', '1000']).then(
      () => undefined,
      (error: unknown) => error,
    );
    const reader = await vm.spawn(['sleep', '1000']);
    reader.stdout.resume();
    await vm.exec(['sh', '-c', 'kill -SEGV $PPID']).catch(() => undefined);
    expect(await pending).toMatchObject({ code: expect.stringMatching(/^(VMM_EXITED|AGENT_UNREACHABLE)$/) });
    await expect(reader.wait()).rejects.toMatchObject({
      code: expect.stringMatching(/^(VMM_EXITED|AGENT_UNREACHABLE)$/),
    });
    await exit;
    expect(await bench.leftovers()).toEqual([]);
  });
});
