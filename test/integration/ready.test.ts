import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { all, any, command, http, logLine, port } from '../../ts/guest/ready/waits.js';
import type { MicroVM } from '../../ts/vm/micro-vm.js';
import { cli } from '../support/cli.js';
import { type Bench, openBench } from '../support/debian-vm.js';
import { until } from '../support/leftovers.js';

/** A server of HTTP in Perl, which Debian always has: at /healthz it is not well at first, and says so on its output once it is. */
const SERVER = `
use IO::Socket::INET; $| = 1; $SIG{PIPE} = 'IGNORE';
my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 8080, Listen => 50, ReuseAddr => 1) or die $!;
print "starting\\n"; my $asked = 0;
while (my $c = $l->accept) {
  my $line = <$c>; while (<$c> =~ /\\S/) {} my ($path) = $line =~ m{ (/[^ ?]*)};
  sleep 1000 if $path eq '/never';
  my $status = $path eq '/healthz' && ++$asked < 3 ? '503 Not Yet' : $path eq '/moved' ? '302 Found' : '200 OK';
  print $c "HTTP/1.1 $status\\r\\nLocation: /elsewhere\\r\\nContent-Length: 3\\r\\n\\r\\nup\\n"; close $c;
  if ($asked == 3) { open my $f, '>', '/run/well'; print "ready to accept connections\\n"; $asked++ }
}`;

describe('a VM that is to be ready', () => {
  let bench: Bench;
  let vm: MicroVM;

  beforeAll(async () => {
    bench = await openBench();
    vm = await bench.smartvm.launch({
      ...{ id: 'ready', memSizeMib: 256, detached: true, startTimeoutMs: 240_000 },
      command: ['perl', '-e', SERVER],
      readyWhen: all([
        port(8080),
        http({ port: 8080, path: '/healthz', status: 200, body: /^up$/m }),
        logLine(/ready to accept connections$/),
        command(['test', '-e', '/run/well']),
      ]),
    });
  }, 300_000);

  afterAll(async () => {
    await vm?.stop({ force: true });
    await bench[Symbol.asyncDispose]();
  });

  it('is so when its launch is through', async () => {
    expect(vm.timings.at(-1)?.step).toBe('ready');
    expect((await vm.exec(['cat', '/run/well'])).exitCode).toBe(0);
    expect(await vm.consoleTail()).toContain('ready to accept connections');
    // What has come to pass, has so for who asks later.
    await vm.waitUntil(all([logLine('ready to accept connections'), http({ port: 8080 })]));
  });

  it('follows no redirect, and tells what the guest has answered in place of what was wanted', async () => {
    await vm.waitUntil(http({ port: 8080, path: '/moved', status: [302] }));
    const failed = async (...[wait, timeoutMs = 8_000]: [Parameters<MicroVM['waitUntil']>[0], number?]) =>
      await vm.waitUntil(wait, { timeoutMs }).then(
        () => expect.unreachable('it came to pass'),
        (error) => error,
      );
    const moved = await failed(http({ port: 8080, path: '/moved?key=secret', status: 200 }));
    expect(moved).toMatchObject({
      code: 'READY_TIMEOUT',
      message: 'VM ready: not ready in time: HTTP GET localhost:8080/moved within 8000 ms (last seen: HTTP 302)',
      details: { timeoutMs: 8_000, failed: [{ kind: 'http', saw: 'HTTP 302' }] },
    });
    const script = 'for i in 1 2 3; do echo "try $i" >&2; done; exit 7';
    const every = await failed(
      any([
        command(script, { shell: true }),
        command(['no-such-program', 'secret']),
        command(['sh', '-c', 'kill -9 $$']),
        port(7999),
        port({ path: '/run/none.sock' }),
        logLine('nobody says so'),
      ]),
      25_000,
    );
    const saw = (wait: string, words: RegExp) => expect.objectContaining({ wait, saw: expect.stringMatching(words) });
    expect(every.details.failed).toEqual([
      saw('command for', /^exit code 7: "try 1\\ntry 2\\ntry 3"$/),
      saw('command no-such-program', /^exit code 127: ".*no-such-program/),
      saw('command sh', /^ended by SIGKILL$/),
      saw('port localhost:7999', /^nobody listens: .*refused/),
      saw('socket /run/none.sock', /^nobody listens: .*no such file/),
      saw('console line "nobody says so"', /^the line "/),
    ]);
    expect(every.message).not.toContain('secret');
  });

  it('leaves nothing in the guest when a wait is over', async () => {
    const ending = new AbortController();
    const waiting = vm.waitUntil(command(['sleep', '4241']), { signal: ending.signal });
    const sleeping = async () => (await vm.exec('grep -lzs ^4241 /proc/[0-9]*/cmdline', { shell: true })).stdout;
    await until(async () => (await sleeping()) !== '', 60_000, 'the command');
    ending.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'CANCELED' });
    await until(async () => (await sleeping()) === '', 60_000, 'the end of the command');
    await vm.pause();
    await expect(vm.waitUntil(port(8080))).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await vm.resume();
  });

  it('ends every wait when it ends', async () => {
    const waits = [http({ port: 8080, path: '/never' }), logLine('never'), command(['sleep', '1000'])];
    const waiting = Promise.allSettled(waits.map((wait) => vm.waitUntil(wait, { timeoutMs: 200_000 })));
    const isAsked = async () => (await vm.exec('grep -lzs ^1000 /proc/[0-9]*/cmdline', { shell: true })).stdout !== '';
    await until(isAsked, 60_000, 'the command');
    const begin = performance.now();
    const exit = once(vm, 'exit');
    process.kill(vm.pid, 'SIGKILL');
    const ends = await waiting;
    expect(ends).toEqual(
      Array(3).fill({ status: 'rejected', reason: expect.objectContaining({ code: 'VMM_EXITED' }) }),
    );
    expect(performance.now() - begin).toBeLessThan(30_000);
    await exit;
    await expect(vm.waitUntil(port(8080))).rejects.toMatchObject({ code: 'NO_CLIENT' });
  });
});

describe('a VM that is not ready', () => {
  let bench: Bench;

  beforeAll(async () => {
    bench = await openBench();
  });

  afterAll(async () => {
    await bench[Symbol.asyncDispose]();
  });

  /** The command line makes a folder for leases, which stays. */
  const left = async () => (await bench.leftovers()).filter((name) => name !== '.leases');

  it('in time is undone, and its launch says what it was waited for, with the console', async () => {
    const launch = bench.smartvm.launch({
      ...{ detached: true, command: ['sh', '-c', 'echo "cannot open the database"; exec sleep 1000'] },
      readyWhen: all([logLine('cannot open'), port(5432)]),
      readyTimeoutMs: 15_000,
    });
    await expect(launch).rejects.toMatchObject({
      code: 'READY_TIMEOUT',
      message: expect.stringMatching(
        /not ready in time: port localhost:5432 within 15000 ms \(last seen: nobody listens: .*refused.*\)\n.*cannot open the database/s,
      ),
      details: { failed: [expect.objectContaining({ wait: 'port localhost:5432' })], consoleTail: expect.any(Array) },
    });
    expect(await left()).toEqual([]);
  });

  it('because its command has ended is not waited for', async () => {
    const { stderr, stdout, exitCode } = await cli(
      bench.runtimeDir,
      ...['run', '-d', '--rm', '--ready', 'port:5432', '--ready', 'log:.', '--ready-timeout', '1000'],
      ...['--', 'sh', '-c', 'echo "no such database"; exit 3'],
    ).end();
    expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 125 });
    expect(stderr).toMatch(/VMM_EXITED/);
    expect(stderr).toContain('no such database');
    expect(await left()).toEqual([]);
  });

  it('because its launch is canceled leaves nothing', async () => {
    const ending = new AbortController();
    const launch = bench.smartvm.launch({ readyWhen: port(5432), readyTimeoutMs: 200_000, signal: ending.signal });
    const [id] = await Promise.race([
      launch.then(() => expect.unreachable('it was ready')),
      until(() => bench.smartvm.listVMs().length > 0, 60_000, 'the VM').then(() => bench.smartvm.listVMs()),
    ]);
    const vm = bench.smartvm.getVM(id as string);
    await until(() => vm?.timings.some(({ step }) => step === 'command') === true, 200_000, 'the waiting');
    ending.abort();
    await expect(launch).rejects.toMatchObject({ code: 'CANCELED' });
    expect(await left()).toEqual([]);
  });
});
