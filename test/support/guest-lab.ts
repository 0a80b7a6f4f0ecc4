import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import { run } from '../../ts/util/run.js';
import type { LabAnswer, LabCall, LabCalls } from '../fixtures/lab-program.js';
import { bundleProgram } from './bundle.js';
import { type ScratchDirectory, scratchDirectory } from './scratch.js';

const INTERNET_PROGRAM = fileURLToPath(new URL('../fixtures/internet.mjs', import.meta.url));

/** A server of the internet, its name servers too. */
export const WEB = { ipv4: '203.0.113.10', ipv6: '2001:db8:113::10' };
/** As the internet sees the host. */
export const HOST = { ipv4: '203.0.113.1', ipv6: '2001:db8:113::1' };
/** Of the host, at which the client reaches it; and the client's own. */
export const OUTSIDE = { ipv4: '198.51.100.1', ipv6: '2001:db8:51::1' };
const CLIENT = { ipv4: '198.51.100.2', ipv6: '2001:db8:51::2' };
/** In the same namespace as the internet, and none of it. */
export const PRIVATE = '10.9.9.9';
export const METADATA = '169.254.169.254';

/**
 * Runs the arguments behind the first two in a network namespace with a /sys of its own, as ip-netns(8) does, but with the host's
 * control groups, which are below /sys, still there.
 */
const ENTER = `set -e
groups=$1 namespace=$2; shift 2
mount --rbind /sys/fs/cgroup "$groups"
exec nsenter --net="/run/netns/$namespace" sh -ec '
  groups=$1; shift
  mount -t sysfs sysfs /sys
  mount --rbind "$groups" /sys/fs/cgroup
  umount -l "$groups"
  exec "$@"
' sh "$groups" "$@"`;

/** A host with an internet behind it and a client beside it, each a network namespace; the VMs are Debian's, on smartvm-qemu. */
export class GuestLab implements AsyncDisposable {
  readonly #scratch: ScratchDirectory;
  readonly #name = `svg${process.pid}`;
  readonly #children: ChildProcess[] = [];
  #program: ChildProcess | undefined;

  private constructor(scratch: ScratchDirectory) {
    this.#scratch = scratch;
  }

  static async open(): Promise<GuestLab> {
    const lab = new GuestLab(await scratchDirectory());
    try {
      await lab.#wire();
      await Promise.all([lab.#serve(), lab.#startProgram()]);
      return lab;
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Has the program on the host do something. */
  async call<Name extends keyof LabCalls>(
    name: Name,
    ...args: Parameters<LabCalls[Name]>
  ): Promise<Awaited<ReturnType<LabCalls[Name]>>> {
    const answered = once(this.#program as ChildProcess, 'message');
    this.#program?.send({ name, args } satisfies LabCall);
    const [{ value, error }] = (await answered) as [LabAnswer];
    if (error) {
      throw Object.assign(new Error(error.message), { code: error.code });
    }
    return value as Awaited<ReturnType<LabCalls[Name]>>;
  }

  /** What a shell in a guest prints. */
  async sh(id: string, script: string): Promise<string> {
    const { stdout, stderr } = await this.call('exec', id, ['bash', '-c', script]);
    return (stdout + stderr).trim();
  }

  /** What a guest gets from port 80 of an address, or another port: `hello` and who it is to the server; or `refused`. */
  async web(id: string, address: string, port = 80): Promise<string> {
    const get = `exec 3<>/dev/tcp/${address}/${port} && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && grep hello <&3`;
    const { stdout } = await this.call('exec', id, ['timeout', '5', 'bash', '-c', get]);
    return stdout.trim().replace('::ffff:', '') || 'refused';
  }

  /** What the client gets from a URL. */
  async fromOutside(url: string): Promise<string> {
    return (await this.in('client', process.execPath, INTERNET_PROGRAM, 'dial', url)).trim().replace('::ffff:', '');
  }

  /** What the host itself gets from a URL. */
  async fromHost(url: string): Promise<string> {
    return (await this.in('host', process.execPath, INTERNET_PROGRAM, 'dial', url)).trim();
  }

  /** The answer to a datagram that says `word`. */
  async datagram(namespace: string, address: string, port: number): Promise<string> {
    return (await this.in(namespace, process.execPath, INTERNET_PROGRAM, 'ask', address, `${port}`)).trim();
  }

  /** Runs a tool in one of the namespaces: `host`, `internet`, `client`. */
  async in(namespace: string, tool: string, ...args: string[]): Promise<string> {
    return (await run('ip', ['netns', 'exec', this.#namespace(namespace), tool, ...args])).toString();
  }

  /** The command line, on the host. */
  async smartvm(...args: string[]): Promise<string> {
    const env = { ...process.env, ...this.#env };
    const [enter, ...rest] = this.#enter('bin/smartvm', ...args);
    return (await run(enter as string, rest, { cwd: PACKAGE_ROOT, env })).toString();
  }

  /** What there is on the host of networks: interfaces, rules and namespaces. */
  async traces(): Promise<unknown> {
    const links = JSON.parse(await this.in('host', 'ip', '-json', 'link')) as { ifname: string }[];
    return {
      links: links.map(({ ifname }) => ifname).toSorted(),
      rules: await this.in('host', 'nft', 'list', 'ruleset'),
      forwarding: await this.in('host', 'sysctl', '-n', 'net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding'),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#program?.connected) {
      await this.call('end').catch(() => undefined);
    }
    for (const child of this.#children) {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await (child.exitCode === null && child.signalCode === null ? exited : undefined);
    }
    for (const name of ['host', 'internet', 'client']) {
      await run('ip', ['netns', 'delete', this.#namespace(name)]).catch(() => undefined);
    }
    await this.#scratch[Symbol.asyncDispose]();
  }

  get #env(): NodeJS.ProcessEnv {
    return { SMARTVM_RUNTIME_DIR: this.#scratch.file('run') };
  }

  #namespace(name: string): string {
    return `${this.#name}-${name}`;
  }

  #enter(...command: string[]): string[] {
    const words = ['-m', 'sh', '-c', ENTER, 'sh', this.#scratch.path, this.#namespace('host')];
    return ['unshare', ...words, ...command];
  }

  async #startProgram(): Promise<void> {
    const path = this.#scratch.file('lab-program.mjs');
    await bundleProgram('lab-program.ts', path);
    const [execPath, ...execArgv] = this.#enter(process.execPath);
    const program = fork(path, [], {
      ...{ execPath: execPath as string, execArgv, cwd: PACKAGE_ROOT },
      env: { ...process.env, ...this.#env },
    });
    this.#program = program;
    this.#children.push(program);
    await Promise.race([
      once(program, 'message'),
      once(program, 'exit').then(() => Promise.reject(new Error('ended'))),
    ]);
  }

  async #serve(): Promise<void> {
    const addresses = ['cb00710a', '20010db8011300000000000000000010'];
    const command = ['netns', 'exec', this.#namespace('internet'), process.execPath, INTERNET_PROGRAM, 'serve'];
    const server = spawn('ip', [...command, ...addresses], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#children.push(server);
    await once(server.stdout, 'data');
  }

  async #wire(): Promise<void> {
    for (const name of ['host', 'internet', 'client']) {
      await run('ip', ['netns', 'add', this.#namespace(name)]);
      await this.#ip(name, 'link set lo up');
    }
    const ends = [
      ['up0', 'internet', HOST, WEB],
      ['side0', 'client', OUTSIDE, CLIENT],
    ] as const;
    for (const [link, name, near, far] of ends) {
      await this.#ip('host', `link add ${link} type veth peer name ${link} netns ${this.#namespace(name)}`);
      await this.#ip('host', ...addressLines(link, near));
      await this.#ip(name, ...addressLines(link, far));
    }
    await this.#ip('internet', `addr add ${PRIVATE}/32 dev lo`, `addr add ${METADATA}/32 dev lo`);
    await this.#ip('host', `route add default via ${WEB.ipv4}`, `route add default via ${WEB.ipv6}`);
  }

  async #ip(namespace: string, ...lines: string[]): Promise<void> {
    await run('ip', ['-n', this.#namespace(namespace), '-batch', '-'], { input: lines.join('\n') });
  }
}

function addressLines(link: string, { ipv4, ipv6 }: { ipv4: string; ipv6: string }): string[] {
  return [`addr add ${ipv4}/24 dev ${link}`, `addr add ${ipv6}/64 dev ${link} nodad`, `link set ${link} up`];
}
