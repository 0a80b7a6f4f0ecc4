import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GuestLab, HOST, METADATA, OUTSIDE, PRIVATE, WEB } from '../support/guest-lab.js';
import { until } from '../support/leftovers.js';

/** Debian's modules and programs, once, and two guests of it that nobody accelerates. */
const BOOT_TIMEOUT_MS = 650_000;
const GUEST = { startTimeoutMs: 300_000, dns: [WEB.ipv4] };

describe.skipIf(process.getuid?.() !== 0)('guests in networks', { timeout: 120_000 }, () => {
  let lab: GuestLab;
  let before: unknown;
  let [one, two]: { addresses: string[]; published: { hostPort: number }[] }[] = [];

  beforeAll(async () => {
    lab = await GuestLab.open();
    before = await lab.traces();
    one = await lab.call('launch', { ...GUEST, id: 'one', publish: ['8080:80', '127.0.0.1:0:80', '8053:53/udp'] });
    two = await lab.call('launch', { ...GUEST, id: 'two', egress: 'none' });
  }, BOOT_TIMEOUT_MS);

  afterAll(async () => {
    await lab[Symbol.asyncDispose]();
  });

  it('have the addresses, routes, resolvers and names that they were given', async () => {
    const [ipv4 = '', ipv6 = ''] = one?.addresses ?? [];
    const seen = await lab.sh(
      'one',
      'ip -o addr show dev eth0; ip route; ip -6 route; cat /etc/resolv.conf /etc/hosts',
    );
    for (const part of [`${ipv4}/24`, `${ipv6}/64`, 'default via 172.30.0.1', 'default via fd', `${ipv4}\tone`]) {
      expect(seen).toContain(part);
    }
    expect(seen).toContain(`nameserver ${WEB.ipv4}`);
    expect(seen).toContain(`${ipv6}\tone`);
    expect(await lab.sh('one', 'cat /proc/sys/net/ipv6/conf/eth0/{accept_ra,accept_dad}')).toBe('0\n0');
  });

  it('reach the internet behind the address of the host, by IPv4 and IPv6', async () => {
    expect(await lab.web('one', WEB.ipv4)).toBe(`hello ${HOST.ipv4}`);
    expect(await lab.web('one', WEB.ipv6)).toBe(`hello ${HOST.ipv6}`);
  });

  it('find names by the name server', async () => {
    expect(await lab.sh('one', 'getent ahostsv4 web.test | head -1')).toContain(WEB.ipv4);
    expect(await lab.sh('one', 'getent ahostsv6 web.test | head -1')).toContain(WEB.ipv6);
  });

  it.each([
    ['the host', HOST.ipv4],
    ['the host, by IPv6', HOST.ipv6],
    ['a private address', PRIVATE],
    ['the metadata service', METADATA],
  ])('do not reach %s', async (_what, address) => {
    await lab.in('host', 'true');
    expect(await lab.web('one', address)).toBe('refused');
  });

  it('are watched: what a policy refuses is told, and what somebody takes away is made again', async () => {
    await lab.call('watch', 'one');
    const seen = async () => JSON.stringify(await lab.call('events', 'one'));
    await until(
      async () => (await lab.web('one', METADATA, 81)) === 'refused' && (await seen()).includes(METADATA),
      30_000,
      'an event of what was refused',
    );
    expect(await lab.call('events', 'one')).toContainEqual(
      expect.objectContaining({ type: 'denied', ifaceId: 'eth0', to: METADATA, protocol: 'tcp', port: 81 }),
    );
    const [counters] = await lab.call('counters', 'one');
    expect(counters?.denied.packets).toBeGreaterThan(0);
    expect(counters?.refused.map(({ to }) => to)).toContain(METADATA);
    await lab.in('host', 'nft', 'flush', 'ruleset');
    await until(async () => (await seen()).includes('repaired'), 30_000, 'the repair');
    expect(await lab.web('one', WEB.ipv4)).toBe(`hello ${HOST.ipv4}`);
    expect(await lab.web('one', METADATA)).toBe('refused');
  });

  it('reach what a policy opens, from the moment on at which it is changed', async () => {
    expect([await lab.web('two', WEB.ipv4), await lab.web('two', WEB.ipv6)]).toEqual(['refused', 'refused']);
    await lab.call('setEgress', 'two', 'internet');
    expect([await lab.web('two', WEB.ipv4), await lab.web('two', WEB.ipv6)]).toEqual([
      `hello ${HOST.ipv4}`,
      `hello ${HOST.ipv6}`,
    ]);
    await lab.call('setEgress', 'two', [{ action: 'allow', to: `${PRIVATE}/32`, ports: [80], protocol: 'tcp' }]);
    expect([await lab.web('two', WEB.ipv4), await lab.web('two', PRIVATE)]).toEqual(['refused', `hello ${HOST.ipv4}`]);
  });

  it('serve by a port of the host what a client outside asks for', async () => {
    const server = `perl -MIO::Socket::IP -e '$s = IO::Socket::IP->new(LocalPort => 80, Listen => 5, ReuseAddr => 1, LocalHost => "::", V6Only => 0) or die; while ($c = $s->accept) { sysread $c, $x, 4096; print $c "HTTP/1.0 200 OK\\r\\n\\r\\nhello from one\\n"; close $c }'`;
    await lab.sh(
      'one',
      `setsid -f ${server} >/dev/null 2>&1 </dev/null; until (exec 3<>/dev/tcp/::1/80); do sleep 0.1; done 2>/dev/null`,
    );
    expect(await lab.fromOutside(`http://${OUTSIDE.ipv4}:8080/`)).toBe('hello from one');
    expect(await lab.fromOutside(`http://[${OUTSIDE.ipv6}]:8080/`)).toBe('hello from one');
    const [, loopback] = one?.published ?? [];
    for (const address of ['127.0.0.1:8080', '[::1]:8080', `127.0.0.1:${loopback?.hostPort}`, `${OUTSIDE.ipv4}:8080`]) {
      expect([address, await lab.fromHost(`http://${address}/`)]).toEqual([address, 'hello from one']);
    }
    expect(await lab.fromOutside(`http://${OUTSIDE.ipv4}:${loopback?.hostPort}/`)).toBe('ECONNREFUSED');
  });

  it('serve datagrams by a port of the host, to clients outside and on the host', async () => {
    const server = `perl -MIO::Socket::IP -e '$s = IO::Socket::IP->new(LocalPort => 53, Proto => "udp", LocalHost => "::", V6Only => 0) or die; while ($s->recv($x, 999)) { $s->send("hello $x") }'`;
    await lab.sh(
      'one',
      `setsid -f ${server} >/dev/null 2>&1 </dev/null; until grep -q ':0035 ' /proc/net/udp6; do sleep 0.1; done`,
    );
    for (const address of [OUTSIDE.ipv4, OUTSIDE.ipv6]) {
      expect(await lab.datagram('client', address, 8053)).toBe('hello word');
    }
    for (const address of ['127.0.0.1', '::1', OUTSIDE.ipv4]) {
      expect([address, await lab.datagram('host', address, 8053)]).toEqual([address, 'hello word']);
    }
  });

  it('are told of on the command line', async () => {
    const port = one?.published[1]?.hostPort;
    expect(port).toBeGreaterThan(0);
    expect(await lab.smartvm('ps', '--format', '{{.ID}} {{.Ports}}')).toContain(
      `one 8080->80/tcp, 127.0.0.1:${port}->80/tcp, 8053->53/udp`,
    );
    const [inspected] = JSON.parse(await lab.smartvm('inspect', 'two')) as { networks: object[] }[];
    expect(inspected?.networks).toMatchObject([{ network: 'default', ifaceId: 'eth0', ipv4: two?.addresses[0] }]);
    const [network] = JSON.parse(await lab.smartvm('network', 'inspect', 'default')) as { vms: { id: string }[] }[];
    expect(network?.vms.map(({ id }) => id).toSorted()).toEqual(['one', 'two']);
    expect(await lab.smartvm('network', 'ls', '--format', '{{.Name}} {{.Vms}} {{.State}}')).toContain('default 2 up');
  });

  it('do not reach each other', async () => {
    const [ipv4 = '', ipv6 = ''] = one?.addresses ?? [];
    await lab.call('setEgress', 'two', [{ action: 'allow', to: 'private' }]);
    expect([await lab.web('two', ipv4), await lab.web('two', ipv6)]).toEqual(['refused', 'refused']);
  });

  it('get out with no other address than their own', async () => {
    const spoof = async (...lines: string[]) => await lab.sh('two', lines.join(' && '));
    await lab.call('setEgress', 'two', 'internet');
    expect(await lab.web('two', WEB.ipv4)).toBe(`hello ${HOST.ipv4}`);
    await spoof('ip addr add 172.30.0.77/24 dev eth0', 'ip route replace default via 172.30.0.1 src 172.30.0.77');
    expect(await lab.web('two', WEB.ipv4)).toBe('refused');
    await spoof('ip route replace default via 172.30.0.1', 'ip addr del 172.30.0.77/24 dev eth0');
    expect(await lab.web('two', WEB.ipv4)).toBe(`hello ${HOST.ipv4}`);
    await spoof('ip link set eth0 address 02:00:00:00:00:77');
    expect(await lab.web('two', WEB.ipv4)).toBe('refused');
    expect(await lab.in('host', 'nft', 'list', 'ruleset')).toMatch(/counter packets [1-9]/);
  });

  it('leave the network of the host as it was', async () => {
    await lab.call('end');
    expect(await lab.traces()).toEqual(before);
  });
});
