import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import type { MicroVM } from '../../ts/vm/micro-vm.js';
import { cli } from '../support/cli.js';
import { type Bench, openBench } from '../support/debian-vm.js';
import { lendProgram } from '../support/guest-program.js';
import { until } from '../support/leftovers.js';
import { Tmux } from '../support/tmux.js';

const SMARTVM = join(PACKAGE_ROOT, 'bin/smartvm');
/** For what hangs. */
const LONG_MS = 60_000;

describe('terminals of a guest', () => {
  let bench: Bench;
  let vm: MicroVM;

  beforeAll(async () => {
    bench = await openBench();
    const options = { id: 'guest', name: 'web', memSizeMib: 256, detached: true, startTimeoutMs: 240_000 };
    vm = await bench.smartvm.launch(options);
  }, 300_000);

  afterAll(async () => {
    if (vm) {
      await vm.stop();
      expect(await bench.leftovers()).toEqual(expect.not.arrayContaining([expect.stringContaining('guest')]));
    }
    await bench[Symbol.asyncDispose]();
  });

  /** The processes of the guest whose command lines have this in them, and that run. */
  async function running(text: string): Promise<number[]> {
    const all = await vm.processes.list();
    return all.filter(({ argv, exit }) => !exit && argv.join(' ').includes(text)).map(({ pid }) => pid);
  }

  async function settings(tmux: Tmux): Promise<string | undefined> {
    await tmux.line('clear; echo settings=$(stty -g)');
    await tmux.sees('settings=');
    return /^settings=(\S+)/m.exec(await tmux.screen())?.[1];
  }

  it('runs processes on terminals, with their sizes, signals and ends', async () => {
    const pty = await vm.openPty({
      command: [
        'sh',
        '-c',
        'tty; stty size; until [ "$(stty size)" = "40 120" ]; do sleep 0.1; done; echo resized; read a',
      ],
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
    await seen('resized\r\n');
    pty.stdin.write('\u0003');
    expect(await pty.wait()).toEqual({ exitCode: null, signal: 'SIGINT' });
    const shell = await vm.openPty({ user: 'nobody', cwd: '/usr', env: { A: 'b' }, term: 'vt100' });
    shell.stdin.write('echo $A $TERM $PWD; exit 5\n');
    shell.stdout.resume();
    expect(await shell.wait()).toMatchObject({ signal: null });
    await expect(vm.openPty({ command: ['nosuch'] })).rejects.toMatchObject({ code: 'EXEC_FAILED' });
    await expect(vm.openPty({ cols: 0 })).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });

  it('are as at home in a terminal of the host, which is as before afterwards', async () => {
    await using tmux = await Tmux.open(bench.runtimeDir);
    const before = await settings(tmux);
    await tmux.line(`${SMARTVM} shell web; echo code=$?`);
    await tmux.sees('root@');
    await tmux.line('echo size=$(stty size) $TERM');
    await tmux.sees('size=30 100 ');
    await tmux.resize(90, 25);
    await tmux.line(`until [ "$(stty size)" = '25 90' ]; do sleep 0.1; done; echo re''sized`);
    await tmux.sees('resized');
    // What prints it is in the foreground by then, as `sleep` after an `echo` of the shell need not be.
    await tmux.line(`sh -c 'echo sleeps; exec sleep 1000'`);
    await tmux.sees('sleeps');
    await tmux.keys('C-c');
    await tmux.line('echo interrupted=$?; kept=this');
    await tmux.sees('interrupted=130');
    await tmux.keys('C-]', 'd');
    await tmux.sees('code=0');
    const comeBack = /smartvm (shell --join \d+ guest)/.exec(await tmux.screen())?.[1];
    await tmux.line(`clear; ${SMARTVM} ${comeBack}; echo code=$?`);
    await tmux.line('echo kept=$kept; exit 7');
    await tmux.sees('kept=this');
    await tmux.sees('code=7');
    expect(await settings(tmux)).toBe(before);
  });

  it('let vim open, follow the size of the window, and quit', async () => {
    await lendProgram(vm, '/usr/bin/vim.tiny', 'vim');
    await using tmux = await Tmux.open(bench.runtimeDir);
    const before = await settings(tmux);
    await tmux.line(`${SMARTVM} shell web; echo code=$?`);
    await tmux.sees('root@');
    await tmux.line('clear; vim -u NONE -N --cmd "set showmode" notes.txt');
    await tmux.sees('~');
    expect(await tmux.modes()).toBe('other=1 cursor=1');
    await tmux.keys('i');
    await tmux.text('some words');
    await fills(tmux, 30);
    await tmux.resize(70, 20);
    await fills(tmux, 20);
    await tmux.resize(110, 40);
    await fills(tmux, 40);
    await tmux.keys('Escape');
    await tmux.line(':wq');
    await tmux.shows('root@');
    await tmux.line('clear; cat notes.txt; exit 3');
    await tmux.sees('some words');
    await tmux.sees('code=3');
    expect(await tmux.modes()).toBe('other=0 cursor=1');
    expect(await settings(tmux)).toBe(before);
  });

  it('switch off what a program that is killed has switched on', async () => {
    await using tmux = await Tmux.open(bench.runtimeDir);
    const before = await settings(tmux);
    const print = 'printf "\\033[?1049h\\033[?25lother\\n"; exec sleep 1000';
    await tmux.line(`clear; ${SMARTVM} exec -it web sh -c '${print}'; echo code=$?`);
    await tmux.sees('other');
    expect(await tmux.modes()).toBe('other=1 cursor=0');
    const [sleeps = 0] = await running('other');
    await vm.processes.kill(sleeps, 'SIGKILL');
    await tmux.sees('code=137');
    expect(await tmux.modes()).toBe('other=0 cursor=1');
    expect(await settings(tmux)).toBe(before);
  });

  it('are left when the terminal of the host is gone, or the program at it is killed', async () => {
    let child: number | undefined;
    {
      await using tmux = await Tmux.open(bench.runtimeDir);
      await tmux.line(`${SMARTVM} exec -it web sh -c 'trap "" HUP; echo deaf; exec sleep 2000'`);
      await tmux.sees('deaf');
      child = await tmux.child();
    }
    await until(() => isGone(child), LONG_MS, 'the end of a program whose terminal is gone');
    const [deaf = 0] = await running('sleep 2000');
    await vm.processes.kill(deaf, 'SIGKILL');

    await using tmux = await Tmux.open(bench.runtimeDir);
    await tmux.line(`${SMARTVM} shell -e LEFT=behind web; echo ended=$?`);
    await tmux.sees('root@');
    process.kill((await tmux.child()) ?? 0, 'SIGKILL');
    await tmux.sees('ended=137');
    const [shell] = await running('-bash');
    await tmux.line(`stty sane; clear; ${SMARTVM} shell --join 4000000 web`);
    await tmux.sees('smartvm: process 4000000 ');
    expect(await tmux.screen()).toContain(`those that run: ${shell} (-bash) [PROCESS_NOT_FOUND]`);
    await tmux.line(`clear; ${SMARTVM} shell --join ${shell} web; echo code=$?`);
    await tmux.line('echo it=$LEFT; kill -HUP $$');
    await tmux.sees('it=behind');
    await tmux.sees('code=129');
  });

  it('are asked for at a terminal alone', async () => {
    const commands = [
      ['shell', 'web'],
      ['exec', '-it', 'web', 'true'],
    ];
    const refused = commands.map(async (command) => {
      const refusing = cli(bench.runtimeDir, ...command);
      refusing.child.stdin.on('error', () => undefined).end('true\n');
      return await refusing.end();
    });
    const refusal = {
      exitCode: 125,
      stderr: expect.stringMatching(/^smartvm: standard input is no terminal; .* \[INVALID_OPTION\]\n$/),
    };
    expect(await Promise.all(refused)).toMatchObject([refusal, refusal]);
    const shown = await cli(bench.runtimeDir, 'exec', '-t', 'web', 'sh', '-c', 'tty; stty size').end();
    expect(shown).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^\/dev\/pts\/\d+\r\n24 80\r\n$/) });
  });
});

/** Waits until vim, which inserts into a file of one line, has drawn so many rows. */
async function fills(tmux: Tmux, rows: number): Promise<void> {
  const isDrawn = async () => {
    const lines = (await tmux.screen()).split('\n').map((line) => line.trimEnd());
    const empty = lines.filter((line) => line === '~').length;
    return lines[0] === 'some words' && empty === rows - 2 && lines[rows - 1] === '-- INSERT --';
  };
  await until(isDrawn, LONG_MS, `vim in ${rows} rows`).catch(async (error: Error) => {
    throw new Error(`${error.message}:\n${await tmux.screen()}`);
  });
}

async function isGone(pid: number | undefined): Promise<boolean> {
  return await readFile(`/proc/${pid}/stat`).then(
    () => false,
    () => true,
  );
}
