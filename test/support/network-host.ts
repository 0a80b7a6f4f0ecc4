import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import type { NetworkAttachment } from '../../ts/config/network.js';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import type { NetworkerAnswer, NetworkerCall, NetworkerOrder } from '../fixtures/networker.js';
import { bundleProgram } from './bundle.js';
import { until } from './leftovers.js';
import { type ScratchDirectory, scratchDirectory } from './scratch.js';

/** A network namespace that takes the host's place, with a directory for what programs in it share. */
export class NetworkHost implements AsyncDisposable {
  readonly name = `svtest-${randomBytes(4).toString('hex')}`;
  readonly scratch: ScratchDirectory;
  readonly #programs: Networker[] = [];

  private constructor(scratch: ScratchDirectory) {
    this.scratch = scratch;
  }

  static async open(): Promise<NetworkHost> {
    const host = new NetworkHost(await scratchDirectory());
    await bundleProgram('networker.ts', host.scratch.file('networker.mjs')); // what may fail comes first
    execFileSync('ip', ['netns', 'add', host.name]);
    host.run('ip', 'link', 'set', 'lo', 'up');
    // Links of a test's own get no addresses some moments after they were made.
    host.run('sysctl', '-qw', 'net.ipv6.conf.default.addr_gen_mode=1');
    return host;
  }

  /** Runs a tool in it, and gives what that says. */
  run(tool: string, ...args: string[]): string {
    return execFileSync('ip', ['netns', 'exec', this.name, tool, ...args], { encoding: 'utf8', stdio: 'pipe' });
  }

  /** Names of its interfaces but the loopback. */
  links(): string[] {
    const links = JSON.parse(this.run('ip', '-json', 'link')) as { ifname: string }[];
    return links.map(({ ifname }) => ifname).filter((name) => name !== 'lo');
  }

  /** Waits until nobody is in it but its programs: tools of a program that was killed do first what they were told. */
  async toolsEnded(): Promise<void> {
    const own = this.#programs.flatMap(({ pid }) => pid ?? []);
    const pids = () =>
      execFileSync('ip', ['netns', 'pids', this.name], { encoding: 'utf8' }).split('\n').filter(Boolean);
    await until(async () => pids().every((pid) => own.includes(Number(pid))), 15_000, 'the end of all tools');
  }

  /** An interface as SmartVM leaves it, whose alias says that it is of programs that keep what they know there. */
  leave(name: string, directory: string): void {
    this.run('ip', 'link', 'add', name, 'type', 'bridge');
    this.run('ip', 'link', 'set', name, 'alias', `smartvm:${name}:${directory}`);
  }

  /** Names of the leases that VMs have of its networks. */
  async leases(): Promise<string[]> {
    return (await readdir(this.scratch.file('run', '.leases', 'network'))).filter((name) => name !== '.lock');
  }

  /** All that a network may change of it. */
  state(): string {
    const forwarding = ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding', 'net.ipv6.conf.lo.accept_ra'];
    return [
      this.run('ip', '-br', 'link'),
      this.run('ip', '-br', 'address'),
      this.run('ip', 'route', 'show', 'table', 'all'),
      this.run('ip', '-6', 'route', 'show', 'table', 'all'),
      this.run('ip', 'rule'),
      this.run('ip', '-6', 'rule'),
      this.run('nft', 'list', 'ruleset'),
      this.run('sysctl', ...forwarding),
    ].join('\n');
  }

  /** A program in it. */
  networker(order: Partial<NetworkerOrder> = {}, without: Lack = {}): Networker {
    const program = new Networker(this, order, without);
    this.#programs.push(program);
    return program;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#programs.map((program) => program.kill()));
    execFileSync('ip', ['netns', 'delete', this.name]);
    await this.scratch[Symbol.asyncDispose]();
  }
}

/** What a program is not to have: a capability, a host tool, by its path, or what others know. */
interface Lack {
  readonly capability?: string;
  readonly tool?: string;
  /** The runtime directory of the others: it has one of its own. */
  readonly runtimeDir?: true;
  /** The host's tools as they are: programs of this folder come before them. */
  readonly before?: string;
}

/** A program that has places in networks. */
export class Networker {
  readonly #child: ChildProcess;
  /** Those who wait for the answers to their calls. */
  readonly #waiting = new Map<number, (answer: NetworkerAnswer) => void>();
  #serial = 0;

  constructor(host: NetworkHost, order: Partial<NetworkerOrder>, { capability, tool, runtimeDir, before }: Lack) {
    const whole = { dataDir: host.scratch.file('data'), bridge: 'svbr0', ipv4: '172.30.0.0/24', ...order };
    const hide = 'mount --bind /dev/null "$0"; exec "$@"';
    const without = [
      ...(capability === undefined ? [] : ['setpriv', '--bounding-set', `-${capability}`]),
      ...(tool === undefined ? [] : ['unshare', '-m', 'sh', '-ec', hide, tool]),
    ];
    this.#child = fork(host.scratch.file('networker.mjs'), [JSON.stringify(whole)], {
      cwd: PACKAGE_ROOT,
      execPath: 'ip',
      execArgv: ['netns', 'exec', host.name, ...without, process.execPath],
      env: {
        ...process.env,
        PATH: [before, process.env.PATH].filter(Boolean).join(':'),
        SMARTVM_RUNTIME_DIR: host.scratch.file(runtimeDir ? "other's #run" : 'run'),
      },
    });
    this.#child.on('message', ({ serial, ...answer }: NetworkerAnswer & { serial: number }) => {
      this.#waiting.get(serial)?.(answer as NetworkerAnswer);
      this.#waiting.delete(serial);
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Whether it lived through what it was told to do, or was killed over it. */
  async survives(act: () => Promise<unknown>): Promise<boolean> {
    const killed = once(this.#child, 'exit').then(() => false);
    return await Promise.race([killed, act().then(() => true)]);
  }

  /** @throws Error with the code of the program's own */
  async call(call: NetworkerCall): Promise<unknown> {
    const serial = ++this.#serial;
    const answer = await new Promise<NetworkerAnswer>((resolve) => {
      this.#waiting.set(serial, resolve);
      this.#child.send({ ...call, serial });
    });
    if ('code' in answer) {
      throw Object.assign(new Error(answer.message), { code: answer.code });
    }
    return answer.value;
  }

  /** Runs a tool in a network namespace that the program has made, which it alone sees: so it is with `ip netns exec`. */
  inside(namespace: string, tool: string, ...args: string[]): string {
    const enter = ['--target', `${this.#child.pid}`, '--mount', '--net', 'ip', 'netns', 'exec', namespace];
    return execFileSync('nsenter', [...enter, tool, ...args], { encoding: 'utf8', stdio: 'pipe' });
  }

  async attach(id: string, request: object = {}): Promise<NetworkAttachment> {
    const [attachment] = (await this.call({ call: 'attach', id, requests: [request] })) as NetworkAttachment[];
    return attachment as NetworkAttachment;
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGKILL');
      await once(this.#child, 'exit');
    }
  }
}
