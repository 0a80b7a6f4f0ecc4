import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, readdir, stat, symlink, unlink, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../../ts/util/run.js';
import type { MicroVM } from '../../ts/vm/micro-vm.js';
import { cli } from '../support/cli.js';
import { type Bench, openBench } from '../support/debian-vm.js';
import { GUEST_INITS } from '../support/guest-init.js';
import { lendProgram } from '../support/guest-program.js';
import { until } from '../support/leftovers.js';
import { scratchDirectory } from '../support/scratch.js';

/** In Perl, which Debian always has: says back what it gets, on TCP ports and Unix sockets, one program a connection. */
const ECHO = `
use IO::Socket::INET; use IO::Socket::UNIX; $SIG{CHLD} = 'IGNORE';
my $at = shift; my $l = $at =~ m{^/} ? IO::Socket::UNIX->new(Local => $at, Listen => 50)
  : IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $at, Listen => 50, ReuseAddr => 1);
$l or die "$at: $!"; $| = 1; print "up\\n";
while (my $c = $l->accept) { next if fork; close $l; my $b; while (sysread $c, $b, 65536) { print $c $b; $c->flush } exit }`;

/** Sends a half, and resets the connection once it is answered. */
const BREAK = `
use IO::Socket::INET; use Socket; $| = 1; print "up\\n" if
  my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => shift, Listen => 5, ReuseAddr => 1);
while (my $c = $l->accept) {
  syswrite $c, 'half'; sysread $c, my $b, 2; setsockopt $c, SOL_SOCKET, SO_LINGER, pack('II', 1, 0); close $c }`;

/** Makes so many connections, and keeps them. */
const FLOOD = `
use IO::Socket::INET; my $at = shift;
my @all = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $at) || die $! } 1..shift; sleep 1000`;

/** For what hangs. */
const LONG_MS = 60_000;

/** Connects, sends a line, ends its direction, and prints what it gets. */
const SAY = `
use IO::Socket::INET; use IO::Socket::UNIX; my $at = shift;
my $c = $at =~ m{^/} ? IO::Socket::UNIX->new(Peer => $at) : IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $at);
$c or die "$at: $!"; print $c "from the guest\\n"; $c->flush; shutdown $c, 1; print while <$c>;`;

describe.each(GUEST_INITS)('ports and SSH of a guest whose init is that of the %s', (init) => {
  let bench: Bench;
  let vm: MicroVM;

  beforeAll(async () => {
    bench = await openBench();
    vm = await bench.smartvm.launch({
      id: 'guest',
      name: 'web',
      memSizeMib: 256,
      init,
      detached: true,
      startTimeoutMs: 240_000,
    });
    for (const at of ['7000', '/run/echo.sock']) {
      const server = await vm.spawn(['perl', '-e', ECHO, at], { detached: true });
      expect(`${(await once(server.stdout, 'data'))[0]}`).toBe('up\n');
      server.release();
    }
  }, 300_000);

  afterAll(async () => {
    if (vm) {
      const last = await vm.forwardPort({ guestPort: 7000 });
      await vm.stop();
      await expect(once(connect({ port: last.hostPort ?? 0 }), 'connect')).rejects.toThrow('ECONNREFUSED');
      await expect(vm.forwardPort({ guestPort: 7000 })).rejects.toMatchObject({ code: 'INVALID_STATE' });
      expect(await bench.leftovers()).toEqual(expect.not.arrayContaining([expect.stringContaining('guest')]));
    }
    await bench[Symbol.asyncDispose]();
  });

  async function echoed(connection: Duplex, data: Buffer): Promise<Buffer> {
    connection.end(data);
    return await buffer(connection);
  }

  it('connects to ports and Unix sockets, and passes on each direction with its end', async () => {
    const block = randomBytes(3_000_000);
    const [tcp, unix] = await Promise.all([vm.connectPort(7000), vm.connectPort({ path: '/run/echo.sock' })]);
    const [one, other] = await Promise.all([echoed(tcp, block), echoed(unix, block)]);
    const sum = (data: Buffer) => createHash('sha256').update(data).digest('hex');
    expect([sum(one), sum(other)]).toEqual([sum(block), sum(block)]);
  });

  it('waits for a port, and tells where nobody listens', async () => {
    const waits = vm.waitForPort(7001, { timeoutMs: 120_000 });
    const late = await vm.spawn(['perl', '-e', ECHO, '7001']);
    await waits;
    late.destroy();
    await expect(vm.waitForPort(7999, { timeoutMs: 300 })).rejects.toMatchObject({
      code: 'PORT_UNREACHABLE',
      message: expect.stringMatching(/7999.*within 300 ms/),
    });
    await expect(vm.connectPort(7999)).rejects.toMatchObject({
      code: 'PORT_UNREACHABLE',
      message: expect.stringContaining('refused'),
      details: { port: 7999 },
    });
    await expect(vm.connectPort({ path: '/run/none' })).rejects.toMatchObject({ code: 'PORT_UNREACHABLE' });
    await expect(vm.connectPort(0)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });

  it('forwards ports and Unix sockets of the host to the guest, many at once', async () => {
    await using scratch = await scratchDirectory();
    await using tcp = await vm.forwardPort({ guestPort: 7000 });
    await using unix = await vm.forwardPort({ guestPath: '/run/echo.sock', hostPath: scratch.file('echo.sock') });
    expect((await stat(scratch.file('echo.sock'))).mode & 0o777).toBe(0o600);
    const replies = Array.from({ length: 20 }, async (_, index) => {
      const socket =
        index % 2 === 0
          ? connect({ port: tcp.hostPort ?? 0, allowHalfOpen: true })
          : connect({ path: unix.hostPath ?? '', allowHalfOpen: true });
      return `${await echoed(socket, Buffer.from(`reply ${index}`))}`;
    });
    expect(await Promise.all(replies)).toEqual(Array.from({ length: 20 }, (_, index) => `reply ${index}`));
    expect(await vm.url(7000)).toBe(await vm.url(7000));
    expect(await vm.url(7000, { protocol: 'ws' })).toMatch(/^ws:\/\/127\.0\.0\.1:\d+$/);
    await expect(vm.forwardPort({ guestPort: 7000, hostPort: tcp.hostPort })).rejects.toMatchObject({
      code: 'PORT_TAKEN',
    });
    const open = connect({ port: tcp.hostPort ?? 0 });
    await once(open, 'connect');
    const cut = once(open, 'close');
    await tcp.close();
    await cut;
    await expect(once(connect({ port: tcp.hostPort ?? 0 }), 'connect')).rejects.toThrow('ECONNREFUSED');
  });

  it('resets a connection for which nobody listens in the guest', async () => {
    await using dead = await vm.forwardPort({ guestPort: 7999 });
    const socket = connect({ port: dead.hostPort ?? 0 });
    await expect(buffer(socket)).rejects.toThrow('ECONNRESET');
  });

  it('forwards the other way round', async () => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.write('host got ');
      socket.pipe(socket);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const hostPort = portOf(server);
    await using tcp = await vm.forwardPort({ reverse: true, guestPort: 0, hostPort });
    await using unix = await vm.forwardPort({ reverse: true, guestPath: '/run/host.sock', hostPort });
    for (const at of [`${tcp.guestPort}`, '/run/host.sock']) {
      expect((await vm.exec(['perl', '-e', SAY, at], { reject: true })).stdout).toBe('host got from the guest\n');
    }
    await expect(vm.forwardPort({ reverse: true, guestPort: 7000, hostPort })).rejects.toMatchObject({
      code: 'AGENT_FAILED',
    });
    await Promise.all([tcp.close(), unix.close()]);
    expect(await vm.exec(['perl', '-e', SAY, '/run/host.sock'])).toMatchObject({ exitCode: 2 });
    server.close();
  });

  it('passes on that a connection broke in the guest, after all that came', async () => {
    const server = await vm.spawn(['perl', '-e', BREAK, '7002']);
    await once(server.stdout, 'data');
    await using tcp = await vm.forwardPort({ guestPort: 7002 });
    for (const socket of [await vm.connectPort(7002), connect({ port: tcp.hostPort ?? 0 })]) {
      const broken = new Promise((resolve) => socket.once('error', resolve));
      const [half] = (await once(socket, 'data')) as [Buffer];
      expect(`${half}`).toBe('half');
      socket.write('on');
      socket.resume();
      expect(await broken).toMatchObject({ code: 'ECONNRESET' });
    }
    server.destroy();
  });

  it('takes what a guest connects in its turn, holds still while the guest is paused, and leaves no descriptor open', async () => {
    const descriptors = async () => (await readdir('/proc/self/fd')).length;
    const before = await descriptors();
    const taken: Socket[] = [];
    let most = 0;
    const server = createServer((socket) => {
      taken.push(socket.on('error', () => undefined));
      most = Math.max(most, taken.filter(({ destroyed }) => !destroyed).length);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const reverse = await vm.forwardPort({ reverse: true, guestPort: 0, hostPort: portOf(server) });
    const flood = await vm.spawn(['perl', '-e', FLOOD, `${reverse.guestPort}`, '300']);
    await until(() => taken.length === 256, LONG_MS, 'as many connections as may be');
    for (const socket of taken) {
      socket.resetAndDestroy();
    }
    await until(() => taken.length === 300, LONG_MS, 'the connections that waited');
    expect(most).toBeLessThanOrEqual(256);
    const forward = await vm.forwardPort({ guestPort: 7000 });
    const open = connect({ port: forward.hostPort ?? 0 });
    open.write('before ');
    await once(open, 'data');
    await vm.pause();
    await expect(buffer(connect({ port: forward.hostPort ?? 0 }))).rejects.toThrow('ECONNRESET');
    const after = once(open, 'data'); // which may come before resume() has returned
    open.write('after');
    await reverse.close();
    await vm.resume();
    expect(`${(await after)[0]}`).toBe('after');
    flood.destroy();
    await Promise.all([forward.close(), new Promise((resolve) => server.close(resolve))]);
    await until(async () => (await descriptors()) <= before, LONG_MS, `${before} descriptors`);
    expect(await vm.exec(['perl', '-e', SAY, `${reverse.guestPort}`])).toMatchObject({ exitCode: 111 });
  });

  it('forwards from the command line until it is interrupted', async () => {
    await using forward = cli(bench.runtimeDir, 'port-forward', 'web', ':7000', ':/run/echo.sock');
    await forward.says('leads to /run/echo.sock of the guest');
    const ports = [...forward.stdout.matchAll(/^127\.0\.0\.1:(\d+) leads to/gm)].map(([, port]) => Number(port));
    expect(ports).toHaveLength(2);
    for (const port of ports) {
      expect(`${await echoed(connect({ port, allowHalfOpen: true }), Buffer.from('words'))}`).toBe('words');
    }
    forward.child.kill('SIGINT');
    expect(await forward.exitCode()).toBe(130);
  });

  it("lets OpenSSH's ssh, scp, sftp and rsync in by the lines that it prints", async () => {
    await using scratch = await scratchDirectory();
    const printed = await cli(bench.runtimeDir, 'ssh-config', 'web').end();
    expect(printed).toMatchObject({ exitCode: 0, stderr: '' });
    const config = scratch.file('config');
    await writeFile(config, printed.stdout);
    for (const name of ['ssh_key', 'ssh_known_hosts']) {
      expect((await stat(join(bench.runtimeDir, 'guest', name))).mode & 0o777).toBe(0o600);
    }
    const ssh = await run('ssh', ['-F', config, 'web', 'echo $USER; cat; exit 0'], { input: 'in\n' });
    expect(`${ssh}`).toBe('root\nin\n');
    const tree = scratch.file('tree');
    await mkdir(join(tree, 'a/b'), { recursive: true });
    await writeFile(join(tree, 'a/b/data'), randomBytes(200_000));
    await chmod(join(tree, 'a/b/data'), 0o640);
    await run('scp', ['-F', config, '-rp', tree, 'web:/root/copied']);
    await run('scp', ['-F', config, '-rp', 'web:/root/copied', scratch.file('scp')]);
    await writeFile(
      scratch.file('batch'),
      `mkdir there\nput -rp ${tree} there\nget -rp there/tree ${scratch.file('sftp')}\n`,
    );
    await run('sftp', ['-F', config, '-b', scratch.file('batch'), 'web']);
    await symlink('a/b/data', join(tree, 'link'));
    await lendProgram(vm, '/usr/bin/rsync');
    await run('rsync', ['-a', '-e', `ssh -F ${config}`, `${tree}/`, 'web:/srv/tree/']);
    await run('rsync', ['-a', '-e', `ssh -F ${config}`, 'web:/srv/tree/', scratch.file('rsync')]);
    expect((await stat(join(scratch.file('rsync'), 'a/b/data'))).mode & 0o777).toBe(0o640);
    await run('diff', ['-r', '--no-dereference', tree, scratch.file('rsync')]);
    await unlink(join(tree, 'link'));
    for (const copy of ['scp', 'sftp']) {
      expect((await stat(join(scratch.file(copy), 'a/b/data'))).mode & 0o777).toBe(0o640);
      await run('diff', ['-r', tree, scratch.file(copy)]);
    }
  });

  it("serves OpenSSH's forwardings, both ways round, over one connection", async () => {
    await using scratch = await scratchDirectory();
    const config = scratch.file('config');
    await writeFile(config, (await cli(bench.runtimeDir, 'ssh-config', 'web').end()).stdout);
    const shared = ['-F', config, '-S', scratch.file('shared')];
    const server = createServer((socket) => socket.end('of the host')).listen(scratch.file('server.sock'));
    await once(server, 'listening');
    await run('ssh', [...shared, '-M', '-f', '-N', 'web']);
    await run('ssh', [...shared, '-O', 'forward', '-L', `${scratch.file('local.sock')}:localhost:7000`, 'web']);
    await run('ssh', [...shared, '-O', 'forward', '-R', `/run/remote.sock:${scratch.file('server.sock')}`, 'web']);
    const local = connect({ path: scratch.file('local.sock'), allowHalfOpen: true });
    expect(`${await echoed(local, Buffer.from('words'))}`).toBe('words');
    await vm.files.write('/root/say.pl', SAY);
    expect(`${await run('ssh', [...shared, 'web', 'perl say.pl /run/remote.sock'])}`).toBe('of the host');
    await run('ssh', [...shared, '-O', 'exit', 'web']);
    server.close();
  });
});

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}
