import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defaultDataDir } from '../../ts/config/directories.js';
import type { FrameDrop } from '../../ts/config/network-events.js';
import { countersOf } from '../../ts/network/policy/counters.js';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import { run } from '../../ts/util/run.js';
import type { LabAnswer, LabCall, LabCalls } from '../fixtures/lab-program.js';
import { bundleProgram } from './bundle.js';
import { ENTER, GET } from './guest-lab-scripts.js';
import { type ScratchDirectory, scratchDirectory } from './scratch.js';
import { openTunnel, type TunnelEnd } from './wireguard.js';

const INTERNET_PROGRAM = fileURLToPath(new URL('../fixtures/internet.mjs', import.meta.url));

/** A server of the internet, its name servers too. */
export const WEB = { ipv4: '203.0.113.10', ipv6: '2001:db8:113::10' };
/** As the internet sees the host. */
export const HOST = { ipv4: '203.0.113.1', ipv6: '2001:db8:113::1' };
/** What the internet's server says to a guest of the host's, by IPv4 and by IPv6. */
export const THROUGH_NAT = [`hello ${HOST.ipv4}`, `hello ${HOST.ipv6}`];
/** Of the host, at which the client reaches it; and the client's own. */
export const OUTSIDE = { ipv4: '198.51.100.1', ipv6: '2001:db8:51::1' };
const CLIENT = { ipv4: '198.51.100.2', ipv6: '2001:db8:51::2' };
/** In the same namespace as the internet, and none of it. */
export const PRIVATE = '10.9.9.9';
export const METADATA = '169.254.169.254';
/** The ends of a tunnel from the host to the internet. */
export const TUNNEL = { ipv4: '10.77.0.2', ipv6: 'fd77::2' };
const TUNNEL_FAR = { ipv4: '10.77.0.1', ipv6: 'fd77::1' };

interface Addresses {
  readonly ipv4: string;
  readonly ipv6: string;
}

/** In seconds: what a busy machine may take. */
const PATIENCE = 60;
/** Nothing is to be heard for at least so many seconds, and for so many times what an answer took before. */
const SILENCE = { seconds: 2, times: 4 };

/** A host with an internet behind it and a client beside it, each a network namespace; the VMs are Debian's, on smartvm-qemu. */
export class GuestLab implements AsyncDisposable {
  readonly #scratch: ScratchDirectory;
  readonly #name = `svg${process.pid}`;
  readonly #children: ChildProcess[] = [];
  #program: ChildProcess | undefined;
  /** What guests have taken to get the last answers, in seconds. */
  #roundTrip: number | undefined;

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
  async sh(id: string, script: string, ...args: string[]): Promise<string> {
    const { stdout, stderr } = await this.call('exec', id, ['bash', '-c', script, ...args]);
    return (stdout + stderr).trim();
  }

  /**
   * What a guest gets from a port of some addresses, asked at once: `hello` and who it is to the server; `refused` where somebody
   * said no, `silence` where nobody answered in time, or another error in the guest's own words.
   * @param asked with the seconds that each has
   */
  async ask(id: string, asked: readonly (readonly [address: string, seconds: number])[], port = 80): Promise<string[]> {
    const began = performance.now();
    const text = await this.sh(id, GET, String(port), ...asked.map((one) => one.join(',')));
    const said = text.replaceAll('::ffff:', '').split('\n');
    if (said.every((one) => one.startsWith('hello'))) {
      this.#roundTrip = (performance.now() - began) / 1000;
    }
    return said;
  }

  /** {@link ask} of an address that is to answer. */
  async web(id: string, address: string, port = 80): Promise<string> {
    return (await this.ask(id, [[address, PATIENCE]], port)).join();
  }

  /** As {@link web}, of two addresses. */
  async webs(id: string, { ipv4, ipv6 }: Addresses, port = 80): Promise<string[]> {
    const asked = [ipv4, ipv6].map((address) => [address, PATIENCE] as const);
    return await this.ask(id, asked, port);
  }

  /**
   * {@link ask} of addresses of which nothing is to be heard, and of others, which are to answer. How long a guest takes that does hear
   * something is to be known: others have answered to what was asked before.
   */
  async silence(id: string, silent: readonly string[], others: readonly string[] = [], port = 80): Promise<string[]> {
    const asked = (addresses: readonly string[], seconds: number) => addresses.map((one) => [one, seconds] as const);
    const known = silent.length === 0 ? 0 : this.#roundTrip;
    if (known === undefined) {
      throw new Error('nobody knows how long an answer takes: ask who answers first');
    }
    const seconds = Math.min(PATIENCE, Math.max(SILENCE.seconds, Math.ceil(SILENCE.times * known)));
    return await this.ask(id, [...asked(silent, seconds), ...asked(others, PATIENCE)], port);
  }

  /** Frames dropped at a TAP, by why. */
  async drops(tap: string): Promise<(kind: FrameDrop) => number> {
    const list = (family: string) => this.in('host', 'nft', '-j', 'list', 'table', family, 'smartvm');
    const frames = countersOf(await list('inet'), await list('bridge')).frames.get(tap);
    return (kind) => frames?.get(kind)?.packets ?? Number.NaN;
  }

  /** What a program in one of the namespaces gets from a URL, or the code of its error. */
  async dial(namespace: 'client' | 'host', url: string): Promise<string> {
    return (await this.in(namespace, process.execPath, INTERNET_PROGRAM, 'dial', url)).trim().replace('::ffff:', '');
  }

  /** A tunnel of WireGuard from `wg0` of the host to the internet, without any route of the host's by it. */
  async openTunnel(): Promise<void> {
    const at = async (namespace: string, addresses: Addresses, peer: Addresses): Promise<TunnelEnd> => ({
      namespace: this.#namespace(namespace),
      ...{ addresses, peer },
    });
    const ends = [await at('host', TUNNEL, TUNNEL_FAR), await at('internet', TUNNEL_FAR, TUNNEL)] as const;
    this.#children.push(...(await openTunnel(ends, WEB.ipv4)));
  }

  /** Ends it, and its interface with it. */
  async closeTunnel(): Promise<void> {
    await this.#ip('host', 'link delete wg0');
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
    return await this.program('bin/smartvm', ...args);
  }

  /** A program of the package's, on the host. */
  async program(...command: string[]): Promise<string> {
    const env = { ...process.env, ...this.#env };
    const [enter, ...rest] = this.#enter(...command);
    return (await run(enter as string, rest, { cwd: PACKAGE_ROOT, env })).toString();
  }

  /** What there is on the host of networks: interfaces, rules and namespaces. */
  async traces(): Promise<unknown> {
    const links = JSON.parse(await this.in('host', 'ip', '-json', 'link')) as { ifname: string }[];
    return {
      links: links.map(({ ifname }) => ifname).toSorted(),
      routes: await this.in(
        'host',
        'sh',
        '-c',
        // Link-local addresses of the wires come a moment after these.
        'ip rule; ip -6 rule; ip route show table all | grep -v fe80::',
      ),
      rules: await this.in('host', 'nft', 'list', 'ruleset'),
      forwarding: await this.in('host', 'sysctl', '-n', 'net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding'),
      reversePaths: await this.in('host', 'sysctl', '-n', 'net.ipv4.conf.all.rp_filter', 'net.ipv4.conf.up0.rp_filter'),
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
    return { SMARTVM_RUNTIME_DIR: this.#scratch.file('run'), SMARTVM_DATA_DIR: this.#scratch.file('data') };
  }

  #namespace(name: string): string {
    return `${this.#name}-${name}`;
  }

  #enter(...command: string[]): string[] {
    const [groups, ours] = [this.#scratch.file('groups'), this.#scratch.file('data', 'images')];
    const words = [
      '-m',
      'sh',
      '-c',
      ENTER,
      'sh',
      groups,
      this.#namespace('host'),
      join(defaultDataDir(), 'images'),
      ours,
    ];
    return ['unshare', ...words, ...command];
  }

  async #startProgram(): Promise<void> {
    const path = this.#scratch.file('lab-program.mjs');
    await bundleProgram('lab-program.ts', path);
    for (const folder of ['groups', 'data/images', 'twin']) {
      await mkdir(this.#scratch.file(folder), { recursive: true, mode: 0o700 });
    }
    const [execPath, ...execArgv] = this.#enter(process.execPath);
    const program = fork(path, [this.#scratch.file('twin')], {
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
    await this.in('host', 'sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=1'); // as many distributions have it
  }

  async #ip(namespace: string, ...lines: string[]): Promise<void> {
    await run('ip', ['-n', this.#namespace(namespace), '-batch', '-'], { input: lines.join('\n') });
  }
}

function addressLines(link: string, { ipv4, ipv6 }: { ipv4: string; ipv6: string }): string[] {
  return [`addr add ${ipv4}/24 dev ${link}`, `addr add ${ipv6}/64 dev ${link} nodad`, `link set ${link} up`];
}
