import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Egress } from '../../ts/config/egress.js';
import type { FrameDrop } from '../../ts/config/network-events.js';
import { countersOf, type NetworkCounters } from '../../ts/network/policy/counters.js';
import { type NftCommand, nftInput } from '../../ts/network/policy/nft.js';
import {
  attachElements,
  type BoundPort,
  baseRuleset,
  networkElements,
  type PolicyAttachment,
  type PolicyNetwork,
} from '../../ts/network/policy/ruleset.js';
import { run } from '../../ts/util/run.js';

const ENDS = fileURLToPath(new URL('../fixtures/net-ends.mjs', import.meta.url));

export const INTERNET = { ipv4: '203.0.113.10', ipv6: '2001:db8:113::10' };
/** Addresses of the namespace "internet" that are not of the internet. */
export const METADATA = '169.254.169.254';
export const LINK_LOCAL = '169.254.7.7';
export const NEIGHBOUR = { ipv4: '10.9.9.9', ipv6: 'fd99::9' };
export const HOST = { ipv4: '203.0.113.1', ipv6: '2001:db8:113::1' };
export const TUNNEL = { ipv4: '198.51.100.2', ipv6: '2001:db8:51::2', gateway6: '2001:db8:51::1' };
export const GATEWAY = { ipv4: '172.30.0.1', ipv6: 'fd00:30::1' };
export const NETWORK: PolicyNetwork = {
  bridge: 'svbr0',
  owned: true,
  ipv4: '172.30.0.0/24',
  ipv6: 'fd00:30::/64',
  isolated: true,
};

let labs = 0;

/** A host with a bridge, guests on it and an internet behind it, each a network namespace. */
export class NetLab {
  /** What there is without any network. */
  empty = { rules: 0, elements: 0 };
  readonly #name = `svt${process.pid}x${labs++}`;
  readonly #namespaces: string[] = [];
  readonly #children: ChildProcess[] = [];

  static async create(): Promise<NetLab> {
    const lab = new NetLab();
    await lab.#addHost();
    return lab;
  }

  /** Runs a host tool in one of the namespaces: `host`, `internet`, or a guest's. */
  async in(namespace: string, tool: string, args: readonly string[], input?: string): Promise<string> {
    const command = ['netns', 'exec', this.namespace(namespace), tool, ...args];
    return (await run('ip', command, input === undefined ? {} : { input })).toString();
  }

  namespace(name: string): string {
    return `${this.#name}-${name}`;
  }

  async ip(namespace: string, ...lines: string[]): Promise<void> {
    await run('ip', ['-n', this.namespace(namespace), '-batch', '-'], { input: lines.join('\n') });
  }

  async rules(commands: readonly NftCommand[]): Promise<void> {
    await this.in('host', 'nft', ['-f', '-'], nftInput(commands));
  }

  /** A guest with a wire to the bridge: what its attachment says, it has. */
  async addGuest(
    number: number,
    { egress = 'internet', ports = [], network = NETWORK }: GuestOptions = {},
  ): Promise<PolicyAttachment> {
    const name = `g${number}`;
    const attachment = attachmentOf(number, network);
    await this.#addNamespace(name);
    const { port, mac, ipv4, ipv6 } = attachment;
    await this.ip(
      'host',
      `link add ${port} type veth peer name eth0 address ${mac} netns ${this.namespace(name)}`,
      `link set ${port} master ${network.bridge} up`,
    );
    await this.ip(
      name,
      `addr add ${ipv4}/24 dev eth0`,
      `addr add ${ipv6}/64 dev eth0 nodad`,
      'link set eth0 up',
      `route add default via ${GATEWAY.ipv4}`,
      `route add default via ${GATEWAY.ipv6}`,
    );
    await this.rules(attachElements(attachment, egress, ports));
    return attachment;
  }

  /** What came of a connection: the address that the server saw (tcp to port 80), `ok`, an error's code or `timeout`. */
  async dial(namespace: string, host: string, port = 80, protocol = 'tcp'): Promise<string> {
    const answer = await this.in(namespace, process.execPath, [ENDS, 'dial', protocol, host, String(port)]);
    return answer.trim().replace('::ffff:', '');
  }

  async serve(namespace: string): Promise<void> {
    await this.#spawn(namespace, 'serve').line();
  }

  /** A connection that stays open. */
  async hold(namespace: string, host: string, port = 7): Promise<Held> {
    const { child, line } = this.#spawn(namespace, 'hold', host, String(port));
    await line();
    let pending: Promise<string> | undefined;
    const next = async () => {
      pending ??= line().finally(() => {
        pending = undefined;
      });
      return await Promise.race([pending, new Promise<string>((resolve) => setTimeout(resolve, 1000, 'silence'))]);
    };
    return {
      next,
      say: async (word) => {
        child.stdin?.write(`${word}\n`);
        return await next();
      },
    };
  }

  /** A second way to the internet, by a wire that is one end's only link: what a tunnel is to the routes of a host. */
  async addTunnel(name: string): Promise<void> {
    await this.ip(
      'host',
      `link add ${name} type veth peer name ${name} netns ${this.namespace('internet')}`,
      `addr add ${TUNNEL.ipv4}/24 dev ${name}`,
      `addr add ${TUNNEL.ipv6}/64 dev ${name} nodad`,
      `link set ${name} up`,
    );
    await this.ip(
      'internet',
      `addr add 198.51.100.1/24 dev ${name}`,
      `addr add 2001:db8:51::1/64 dev ${name} nodad`,
      `link set ${name} up`,
    );
  }

  /** Runs lines of `ip -batch` on the host for both families of addresses. */
  async via(lines: readonly string[], lines6 = lines): Promise<void> {
    await run('ip', ['-n', this.namespace('host'), '-4', '-batch', '-'], { input: lines.join('\n') });
    await run('ip', ['-n', this.namespace('host'), '-6', '-batch', '-'], { input: lines6.join('\n') });
  }

  async listings(): Promise<string[]> {
    const list = (family: string) => this.in('host', 'nft', ['-j', 'list', 'table', family, 'smartvm']);
    return [await list('inet'), await list('bridge')];
  }

  async rulesAndElements(): Promise<{ rules: number; elements: number }> {
    const items = (await this.listings()).flatMap(
      (text) => (JSON.parse(text) as { nftables: { rule?: unknown; set?: Listed; map?: Listed }[] }).nftables,
    );
    const elements = items.map(({ set, map }) => (set ?? map)?.elem?.length ?? 0);
    return {
      rules: items.filter(({ rule }) => rule).length,
      elements: elements.reduce((sum, length) => sum + length, 0),
    };
  }

  async counters(): Promise<NetworkCounters> {
    return countersOf(...(await this.listings()));
  }

  async drops(port: string, kind: FrameDrop): Promise<number> {
    return (await this.counters()).frames.get(port)?.get(kind)?.packets ?? Number.NaN;
  }

  /** Sends a frame as it is, from a guest's interface. */
  async sendFrame(namespace: string, frame: Buffer): Promise<void> {
    const script =
      'my ($i, $f) = @ARGV; socket(my $s, 17, 3, 0) or die $!; open(my $n, "<", "/sys/class/net/$i/ifindex") or die $!;' +
      'send($s, pack("H*", $f), 0, pack("SnlSCCa8", 17, 3, <$n>, 0, 0, 6, "")) or die $!';
    await this.in(namespace, 'perl', ['-e', script, 'eth0', frame.toString('hex')]);
  }

  async removeGuest(number: number): Promise<void> {
    const namespace = this.namespace(`g${number}`);
    await this.ip('host', `link delete tap${number}`);
    await run('ip', ['netns', 'delete', namespace]);
    this.#namespaces.splice(this.#namespaces.indexOf(namespace), 1);
  }

  async remove(): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode === null && child.signalCode === null) {
        const exited = once(child, 'exit');
        child.kill('SIGKILL');
        await exited;
      }
    }
    for (const namespace of this.#namespaces) {
      await run('ip', ['netns', 'delete', namespace]);
    }
  }

  async #addNamespace(name: string): Promise<void> {
    await run('ip', ['netns', 'add', this.namespace(name)]);
    this.#namespaces.push(this.namespace(name));
    await this.ip(name, 'link set lo up');
  }

  async #addHost(): Promise<void> {
    await this.#addNamespace('host');
    await this.#addNamespace('internet');
    await this.ip(
      'host',
      `link add up0 type veth peer name up0 netns ${this.namespace('internet')}`,
      `addr add ${HOST.ipv4}/24 dev up0`,
      `addr add ${HOST.ipv6}/64 dev up0 nodad`,
      ...upWithLinkLocal('up0'),
      'link add svbr0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0',
      `addr add ${GATEWAY.ipv4}/24 dev svbr0`,
      `addr add ${GATEWAY.ipv6}/64 dev svbr0 nodad`,
      ...upWithLinkLocal('svbr0'),
    );
    await this.ip(
      'internet',
      `addr add ${INTERNET.ipv4}/24 dev up0`,
      `addr add ${INTERNET.ipv6}/64 dev up0 nodad`,
      `addr add ${NEIGHBOUR.ipv4}/32 dev lo`,
      `addr add ${NEIGHBOUR.ipv6}/128 dev lo nodad`,
      `addr add ${METADATA}/32 dev lo`,
      `addr add ${LINK_LOCAL}/32 dev lo`,
      'link set up0 up',
    );
    await this.ip(
      'host',
      `route add 169.254.0.0/16 via ${INTERNET.ipv4}`,
      `route add ${NEIGHBOUR.ipv4} via ${INTERNET.ipv4}`,
      `route add ${NEIGHBOUR.ipv6} via ${INTERNET.ipv6}`,
    );
    await this.in('host', 'sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
    await this.rules([baseRuleset()]);
    this.empty = await this.rulesAndElements();
    await this.rules(networkElements(NETWORK));
  }

  #spawn(namespace: string, ...args: string[]): { child: ChildProcess; line: () => Promise<string> } {
    const child = spawn('ip', ['netns', 'exec', this.namespace(namespace), process.execPath, ENDS, ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#children.push(child);
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    return { child, line: async () => String((await lines.next()).value) };
  }
}

/** For what is forwarded, a neighbour is asked from a link-local address: until there is one that is not in doubt, not at all. */
function upWithLinkLocal(device: string): string[] {
  return [`link set dev ${device} addrgenmode none up`, `addr add fe80::1/64 dev ${device} nodad`];
}

interface Listed {
  elem?: unknown[];
}

export interface GuestOptions {
  egress?: Egress;
  ports?: readonly BoundPort[];
  network?: PolicyNetwork;
}

export interface Held {
  /** Sends a word, and gives what came back within a second, or `silence`. */
  say(word: string): Promise<string>;
  /** What comes by itself within a second, or `silence`. */
  next(): Promise<string>;
}

export function attachmentOf(number: number, network: PolicyNetwork = NETWORK): PolicyAttachment {
  const octet = (number + 16).toString(16).padStart(2, '0');
  return {
    network,
    port: `tap${number}`,
    mac: `02:00:00:00:00:${octet}`,
    ipv4: `172.30.0.${number + 16}`,
    ipv6: `fd00:30::${octet}`,
    dns: [INTERNET.ipv4],
  };
}
