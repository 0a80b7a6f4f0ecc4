import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { FrameDrop } from '../../ts/config/network-events.js';
import { linkLocal } from '../../ts/network/policy/elements.js';
import { parseCidr } from '../../ts/util/cidr.js';
import { attachmentOf, GATEWAY, INTERNET, NetLab } from '../support/net-lab.js';

describe('frames of a guest', () => {
  let lab: NetLab;
  const [own, other] = [attachmentOf(1), attachmentOf(2)];
  const BROADCAST = 'ff:ff:ff:ff:ff:ff';
  beforeAll(async () => {
    lab = await NetLab.create();
    await Promise.all([lab.addGuest(1), lab.addGuest(2)]);
    // Nothing of a guest's own comes between what the test sends.
    await lab.in('g1', 'sysctl', ['-qw', 'net.ipv6.conf.eth0.disable_ipv6=1']);
  });
  afterAll(() => lab.remove());

  const hex = (address: string) => address.replaceAll(':', '');
  const ether = (from: string, type: string, payload: string, to = BROADCAST) =>
    Buffer.from((hex(to) + hex(from) + type + payload).padEnd(120, '0'), 'hex');
  const ipv4 = (from: string) =>
    [...from.split('.')].map((octet) => Number(octet).toString(16).padStart(2, '0')).join('');
  const ipv6 = (from: string) => (parseCidr(from)?.first ?? 0n).toString(16).padStart(32, '0');
  const arp = (mac: string, address: string, operation = '0002') =>
    `000108000604${operation}${hex(mac)}${ipv4(address)}${hex(BROADCAST)}${ipv4(GATEWAY.ipv4)}`;
  const packet4 = (from: string) => `4500001c00000000401100${'00'}${ipv4(from)}${ipv4(INTERNET.ipv4)}0035003500080000`;
  /** An ICMPv6 message, as it is or behind extension headers. */
  const packet6 = (from: string, message: string, headers: readonly string[] = []) => {
    const [first = '3a'] = headers.map((header) => header.slice(0, 2));
    const chain = headers.map((header, index) => (headers[index + 1]?.slice(0, 2) ?? '3a') + header.slice(2)).join('');
    const length = ((chain.length + message.length) / 2).toString(16).padStart(4, '0');
    return `60000000${length}${first}ff${ipv6(from)}${ipv6('ff02::1')}${chain}${message}`;
  };
  const advertisement = (target: string) => `8800000020000000${ipv6(target)}`;
  const ROUTER = `860000004000ffff${'00'.repeat(8)}`;
  const HOP_BY_HOP = '0000010400000000';
  const FRAGMENT = '2c00000100000001';

  test.each<[string, FrameDrop, Buffer]>([
    ['a MAC that is not its', 'bad_mac', ether('02:00:00:00:00:99', '0800', packet4(own.ipv4 ?? ''))],
    ["its neighbour's MAC", 'bad_mac', ether(other.mac, '0806', arp(other.mac, other.ipv4 ?? ''))],
    ["its neighbour's IPv4 address", 'bad_ip', ether(own.mac, '0800', packet4(other.ipv4 ?? ''))],
    ["the gateway's IPv4 address", 'bad_ip', ether(own.mac, '0800', packet4(GATEWAY.ipv4))],
    ["its neighbour's IPv6 address", 'bad_ip', ether(own.mac, '86dd', packet6(other.ipv6 ?? '', '8000000000000000'))],
    [
      'a link-local address of its own making',
      'bad_ip',
      ether(own.mac, '86dd', packet6('fe80::1', '8000000000000000')),
    ],
    ["ARP for the gateway's address", 'bad_arp', ether(own.mac, '0806', arp(own.mac, GATEWAY.ipv4))],
    ["ARP for its address with a neighbour's MAC", 'bad_arp', ether(own.mac, '0806', arp(other.mac, own.ipv4 ?? ''))],
    [
      "ARP that asks in its neighbour's name",
      'bad_arp',
      ether(own.mac, '0806', arp(own.mac, other.ipv4 ?? '', '0001')),
    ],
    ['reverse ARP', 'bad_arp', ether(own.mac, '0806', arp(own.mac, own.ipv4 ?? '', '0003'))],
    [
      "an advertisement of the gateway's address",
      'bad_nd',
      ether(own.mac, '86dd', packet6(own.ipv6 ?? '', advertisement(GATEWAY.ipv6))),
    ],
    ['a router advertisement', 'bad_nd', ether(own.mac, '86dd', packet6(linkLocal(own.mac), ROUTER))],
    [
      'a router advertisement behind a header',
      'bad_nd',
      ether(own.mac, '86dd', packet6(linkLocal(own.mac), ROUTER, [HOP_BY_HOP])),
    ],
    [
      'an advertisement in fragments',
      'bad_nd',
      ether(own.mac, '86dd', packet6(own.ipv6 ?? '', advertisement(own.ipv6 ?? ''), [FRAGMENT])),
    ],
    ['a VLAN tag', 'bad_type', ether(own.mac, '8100', `00050800${packet4(own.ipv4 ?? '')}`)],
    ['a frame of the spanning tree', 'bad_type', ether(own.mac, '0026', '424203', '01:80:c2:00:00:00')],
    ['another protocol', 'bad_type', ether(own.mac, '88cc', '00')],
  ])('with %s are dropped and counted', async (_what, kind, frame) => {
    const before = await lab.counters();
    await lab.sendFrame('g1', frame);
    await expect.poll(() => lab.drops('tap1', kind)).toBe((before.frames.get('tap1')?.get(kind)?.packets ?? 0) + 1);
    expect(await lab.drops('tap2', kind)).toBe(before.frames.get('tap2')?.get(kind)?.packets);
  });

  test.each([
    ['ARP', ether(own.mac, '0806', arp(own.mac, own.ipv4 ?? ''))],
    [
      'an ARP probe for its address',
      ether(own.mac, '0806', `0001080006040001${hex(own.mac)}00000000000000000000${ipv4(own.ipv4 ?? '')}`),
    ],
    ['an IPv4 packet', ether(own.mac, '0800', packet4(own.ipv4 ?? ''))],
    ['an advertisement', ether(own.mac, '86dd', packet6(own.ipv6 ?? '', advertisement(own.ipv6 ?? '')))],
    [
      'an advertisement behind a header',
      ether(own.mac, '86dd', packet6(own.ipv6 ?? '', advertisement(own.ipv6 ?? ''), [HOP_BY_HOP])),
    ],
    [
      'a solicitation before it has an address',
      ether(own.mac, '86dd', packet6('::', `8700000000000000${ipv6(own.ipv6 ?? '')}`)),
    ],
  ])('with its own addresses pass: %s', async (_what, frame) => {
    const before = await lab.counters();
    await lab.sendFrame('g1', frame);
    // One that is dropped, behind it: frames of a wire are looked at in their order.
    await lab.sendFrame('g1', ether(own.mac, '88cc', '00'));
    const expected = new Map(before.frames.get('tap1'));
    const { packets = 0, bytes = 0 } = expected.get('bad_type') ?? {};
    await expect.poll(() => lab.drops('tap1', 'bad_type')).toBe(packets + 1);
    const after = new Map((await lab.counters()).frames.get('tap1'));
    expect(after.get('bad_type')?.bytes).toBeGreaterThan(bytes);
    // What passes here is dropped on its way to the neighbour, which is another matter.
    for (const kind of ['bad_type', 'isolated'] as const) {
      expected.delete(kind);
      after.delete(kind);
    }
    expect(after).toEqual(expected);
  });
});
