import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import { run } from '../../ts/util/run.js';
import type { MicroVM } from '../../ts/vm/micro-vm.js';
import { cli } from '../support/cli.js';
import { type Bench, openBench } from '../support/debian-vm.js';
import { GUEST_INITS } from '../support/guest-init.js';
import { until } from '../support/leftovers.js';
import { scratchDirectory } from '../support/scratch.js';
import { Tmux } from '../support/tmux.js';

/** In Perl, which Debian always has: says back what it gets, on TCP ports and Unix sockets, one program a connection. */
const ECHO = `
use IO::Socket::INET; use IO::Socket::UNIX; $SIG{CHLD} = 'IGNORE';
my $at = shift; my $l = $at =~ m{^/} ? IO::Socket::UNIX->new(Local => $at, Listen => 50)
  : IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $at, Listen => 50, ReuseAddr => 1);
$l or die "$at: $!"; $| = 1; print "up\\n";
while (my $c = $l->accept) { next if fork; close $l; my $b; while (sysread $c, $b, 65536) { print $c $b; $c->flush } exit }`;

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
      await vm.stop();
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
    await vm.waitForPort(7000);
    await expect(vm.waitForPort(7999, { timeoutMs: 300 })).rejects.toMatchObject({
      code: 'PORT_UNREACHABLE',
      message: expect.stringMatching(/7999.*within 300 ms.*refused/),
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
    const { port: hostPort } = server.address() as { port: number };
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
    const file = scratch.file('data');
    await writeFile(file, randomBytes(200_000));
    await chmod(file, 0o640);
    await run('scp', ['-F', config, '-p', file, 'web:/root/data']);
    await writeFile(scratch.file('batch'), `get /root/data ${scratch.file('back')}\n`);
    await run('sftp', ['-F', config, '-b', scratch.file('batch'), 'web']);
    expect(await readFile(scratch.file('back'))).toEqual(await readFile(file));
    // The guest has no rsync: it gets this host's, with all that belongs to it.
    const needs = `${await run('ldd', ['/usr/bin/rsync'])}`;
    const libraries = [...needs.matchAll(/(\/\S+) \(0x/g)].map(([, path]) => path as string);
    const loader = libraries.find((path) => path.includes('/ld-linux'));
    await run('ssh', ['-F', config, 'web', 'mkdir /opt/rsync']);
    await run('scp', ['-F', config, '/usr/bin/rsync', ...libraries, 'web:/opt/rsync/']);
    const there = `/opt/rsync/${loader?.split('/').at(-1)} --library-path /opt/rsync /opt/rsync/rsync`;
    await run('rsync', ['-a', '-e', `ssh -F ${config}`, `--rsync-path=${there}`, file, 'web:/root/synced']);
    expect((await vm.exec(['cmp', '/root/data', '/root/synced'])).exitCode).toBe(0);
    expect((await vm.exec(['stat', '-c', '%a', '/root/synced'])).stdout).toBe('640\n');
  });

  it('runs processes on terminals, with their sizes, signals and ends', async () => {
    const pty = await vm.openPty({
      command: ['sh', '-c', 'tty; stty size; read a; stty size; read b'],
      cols: 99,
    });
    let said = '';
    pty.stdout.on('data', (chunk: Buffer) => {
      said += chunk;
    });
    const seen = (text: string) => until(() => said.includes(text), 60_000, text);
    await seen('24 99\r\n');
    expect(said).toMatch(/^\/dev\/pts\/\d+\r\n/);
    pty.resize({ cols: 120, rows: 40 });
    pty.stdin.write('\n');
    await seen('40 120\r\n');
    pty.stdin.write('\u0003');
    expect(await pty.wait()).toEqual({ exitCode: null, signal: 'SIGINT' });
    const shell = await vm.openPty({ user: 'nobody', cwd: '/usr', env: { A: 'b' }, term: 'vt100' });
    shell.stdin.write('echo $A $TERM $PWD; exit 5\n');
    shell.stdout.resume();
    expect(await shell.wait()).toMatchObject({ signal: null });
    await expect(vm.openPty({ command: ['nosuch'] })).rejects.toMatchObject({ code: 'EXEC_FAILED' });
    await expect(vm.openPty({ cols: 0 })).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });

  it('is at home in a terminal', async () => {
    await using tmux = await Tmux.open(bench.runtimeDir);
    const smartvm = join(PACKAGE_ROOT, 'bin/smartvm');
    const settings = async () => {
      await tmux.line('clear; echo settings=$(stty -g)');
      await tmux.sees('settings=');
      return /^settings=(\S+)/m.exec(await tmux.screen())?.[1];
    };
    const before = await settings();
    await tmux.line(`${smartvm} shell web; echo code=$?`);
    await tmux.sees('root@');
    await tmux.line('echo size=$(stty size) $TERM');
    await tmux.sees('size=30 100 ');
    await tmux.resize(90, 25);
    await tmux.line('echo again=$(stty size)');
    await tmux.sees('again=25 90');
    await tmux.line('echo sleeps; sleep 1000');
    await tmux.sees('sleeps');
    await tmux.keys('C-c');
    await tmux.line('echo interrupted=$?; kept=this');
    await tmux.sees('interrupted=130');
    await tmux.keys('C-]', 'd');
    await tmux.sees('code=0');
    const comeBack = /smartvm (shell --join \d+ guest)/.exec(await tmux.screen())?.[1];
    await tmux.line(`clear; ${smartvm} ${comeBack}; echo code=$?`);
    await tmux.line('echo kept=$kept; exit 7');
    await tmux.sees('kept=this');
    await tmux.sees('code=7');
    await tmux.line(
      `clear; ${smartvm} exec -it web sh -c 'printf "\\033[?1049h\\033[?25lother\\n"; exec sleep 1000'; echo code=$?`,
    );
    await tmux.sees('other');
    expect(await tmux.modes()).toBe('other=1 cursor=0');
    const sleeps = (await vm.processes.list()).find(({ argv, exit }) => !exit && argv.at(-1)?.includes('other'));
    await vm.processes.kill(sleeps?.pid ?? 0, 'SIGKILL');
    await tmux.sees('code=137');
    expect(await tmux.modes()).toBe('other=0 cursor=1');
    expect(await settings()).toBe(before);
  });
});
