import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { run } from '../../ts/util/run.js';
import { until } from './leftovers.js';

export interface TunnelEnd {
  /** The network namespace, in which the interface is `wg0`. */
  readonly namespace: string;
  readonly addresses: Readonly<Record<'ipv4' | 'ipv6', string>>;
  readonly peer: Readonly<Record<'ipv4' | 'ipv6', string>>;
}

const PORT = 51_820;
/** Its control socket is in a /run of its own: several of them are of one name. */
const START = 'mount -t tmpfs tmpfs /run && mkdir /run/wireguard && exec wireguard-go -f wg0';

/**
 * A tunnel between two namespaces by wireguard-go, which needs nothing of the kernel but TUN. The first end dials the second, and
 * sends everything.
 * @returns the programs, which end when their interface is deleted
 */
export async function openTunnel(ends: readonly [TunnelEnd, TunnelEnd], address: string): Promise<ChildProcess[]> {
  const [near, far] = [newKeys(), newKeys()];
  const children = ends.map(({ namespace }) =>
    spawn('ip', ['netns', 'exec', namespace, 'unshare', '-m', 'sh', '-c', START], { stdio: 'ignore' }),
  );
  const [nearEnd, farEnd] = ends;
  const all = ['allowed_ip=0.0.0.0/0', 'allowed_ip=::/0'];
  const one = [`allowed_ip=${farEnd.peer.ipv4}/32`, `allowed_ip=${farEnd.peer.ipv6}/128`];
  await configure(children[0], [
    `private_key=${near.own}`,
    `public_key=${far.theirs}`,
    `endpoint=${address}:${PORT}`,
    ...all,
  ]);
  await configure(children[1], [`private_key=${far.own}`, `listen_port=${PORT}`, `public_key=${near.theirs}`, ...one]);
  for (const { namespace, addresses } of [nearEnd, farEnd]) {
    const lines = [
      `addr add ${addresses.ipv4}/24 dev wg0`,
      `addr add ${addresses.ipv6}/64 dev wg0 nodad`,
      'link set wg0 up',
    ];
    await run('ip', ['-n', namespace, '-batch', '-'], { input: lines.join('\n') });
  }
  return children;
}

/** In hexadecimal, as the program takes them. */
function newKeys(): { own: string; theirs: string } {
  const { d, x } = generateKeyPairSync('x25519').privateKey.export({ format: 'jwk' });
  const hex = (key = '') => Buffer.from(key, 'base64url').toString('hex');
  return { own: hex(d), theirs: hex(x) };
}

/** By the cross-platform interface of https://www.wireguard.com/xplatform/. */
async function configure(child: ChildProcess | undefined, lines: readonly string[]): Promise<void> {
  const path = `/proc/${child?.pid}/root/run/wireguard/wg0.sock`;
  await until(() => existsSync(path), 10_000, path);
  const socket = connect(path);
  socket.end(['set=1', ...lines, '', ''].join('\n'));
  const [answer] = (await once(socket, 'data')) as [Buffer];
  if (!answer.toString().startsWith('errno=0\n')) {
    throw new Error(`wireguard-go refuses ${lines.join(', ')}: ${answer}`);
  }
}
