import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { countersOf } from '../../ts/network/policy/counters.js';
import { type Networker, NetworkHost } from '../support/network-host.js';

const isRoot = process.getuid?.() === 0;
/** Sends a frame, in hexadecimal, from the VM's end of a TAP. */
const SEND =
  'my ($i, $f) = @ARGV; open(my $t, "+<", "/dev/net/tun") or die $!; ioctl($t, 0x400454ca, pack("a16Sx22", $i, 0x1002)) or die $!;' +
  'syswrite($t, pack("H*", $f)) or die $!';
const TAP = 'svtap0';
const DESTINATION = '10.9.9.9';

describe.runIf(isRoot)('a VM in a namespace of its own', () => {
  let host: NetworkHost;
  let program: Networker;
  let before: string;

  beforeEach(async () => {
    host = await NetworkHost.open();
    host.run('ip', 'link', 'add', 'lan0', 'type', 'bridge');
    host.run('ip', 'address', 'add', '10.9.9.1/24', 'dev', 'lan0');
    host.run('ip', 'link', 'set', 'lan0', 'up');
    before = host.state();
    program = host.networker();
    await program.call({ call: 'create', options: { name: 'apart', mode: 'netns' } });
  });
  afterEach(async () => {
    await host[Symbol.asyncDispose]();
  });

  const hex = (address: string) =>
    [...address.split('.')].map((octet) => Number(octet).toString(16).padStart(2, '0')).join('');
  /** A datagram of that MAC and address to one that no policy opens by itself. */
  const send = (namespace: string, mac: string, from: string) => {
    const to = program.inside(namespace, 'cat', `/sys/class/net/${TAP}/address`).trim();
    const header = `4500001c000000004011CSUM${hex(from)}${hex(DESTINATION)}`;
    const packet = `${header.replace('CSUM', checksum(header.replace('CSUM', '0000')))}1000005000080000`;
    const frame = `${to}${mac}0800${packet}`.replaceAll(':', '').padEnd(120, '0');
    program.inside(namespace, 'perl', '-e', SEND, TAP, frame);
  };
  /** Packets that the namespace has dropped for what they say that they come from. */
  const dropped = (namespace: string) =>
    [...program.inside(namespace, 'nft', 'list', 'chain', 'inet', 'smartvm', 'wire').matchAll(/packets (\d+)/g)]
      .map(([, packets]) => Number(packets))
      .reduce((sum, packets) => sum + packets, 0);
  const counters = () =>
    countersOf(...['inet', 'bridge'].map((family) => host.run('nft', '-j', 'list', 'table', family, 'smartvm')));

  test('has the same address as others in theirs, is held to it, and to the policy by which the host knows it', async () => {
    const one = await program.attach('one', { network: 'apart', egress: 'none' });
    const two = await program.attach('two', { network: 'apart' });
    expect([two.ipv4, two.ipv6, two.mac]).toEqual([one.ipv4, one.ipv6, one.mac]);
    const links = host.links().filter((name) => !/^(svb|lan)/.test(name));
    expect(links).toHaveLength(2);
    const [namespace = ''] = links;

    send(namespace, one.mac, '172.29.255.1');
    send(namespace, '02:00:00:00:00:99', one.ipv4 ?? '');
    expect(dropped(namespace)).toBe(2);
    expect(counters().refused).toEqual([]);

    send(namespace, one.mac, one.ipv4 ?? '');
    await expect.poll(() => counters().refused).toHaveLength(1);
    expect(dropped(namespace)).toBe(2);
    const [attempt] = counters().refused;
    expect(attempt).toMatchObject({ to: DESTINATION, protocol: 'udp', port: 80 });
    expect(attempt?.from).not.toBe(one.ipv4);
    expect(counters().denied.get(attempt?.from ?? '')?.packets).toBe(1);

    await program.call({ call: 'release', id: 'one' });
    await program.call({ call: 'release', id: 'two' });
    expect(host.state()).toBe(before);
  });

  test('is in no other network beside: NETWORK_UNSUPPORTED, and nothing is taken', async () => {
    const requests = [{ network: 'apart' }, { network: 'default' }];
    await expect(program.call({ call: 'attach', id: 'one', requests })).rejects.toMatchObject({
      code: 'NETWORK_UNSUPPORTED',
    });
    expect(host.state()).toBe(before);
  });
});

/** Of an IPv4 header, in hexadecimal (RFC 1071). */
function checksum(header: string): string {
  let sum = (header.match(/.{4}/g) ?? []).reduce((total, word) => total + Number.parseInt(word, 16), 0);
  while (sum > 0xffff) {
    sum = (sum & 0xffff) + (sum >>> 16);
  }
  return (~sum & 0xffff).toString(16).padStart(4, '0');
}
