import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { IMmdsConfig } from '../../ts/config/types.js';
import { GuestLab, HOST, METADATA, OUTSIDE, PRIVATE, THROUGH_NAT, TUNNEL, WEB } from '../support/guest-lab.js';
import { until } from '../support/leftovers.js';

/** Debian's modules and programs, once, and two guests of it that nobody accelerates. */
const BOOT_TIMEOUT_MS = 650_000;
const GUEST = { startTimeoutMs: 300_000, dns: [WEB.ipv4] };
const REFUSED = ['refused', 'refused'];
/** Of the first guest's own server. Its metadata service is at port 80 of an address of its own. */
const PORT = 8000;
/** A web server for both families, which goes on when the command that starts it has ended. */
const SERVE = `setsid -f perl -MIO::Socket::IP -e '
  $server = IO::Socket::IP->new(LocalPort => ${PORT}, Listen => 5, ReuseAddr => 1, LocalHost => "::", V6Only => 0) or die;
  while ($client = $server->accept) {
    sysread $client, $request, 4096;
    print $client "HTTP/1.0 200 OK\\r\\n\\r\\nhello from " . \`hostname\`;
    close $client;
  }' >/dev/null 2>&1 </dev/null
until (exec 3<>/dev/tcp/::1/${PORT}); do sleep 0.1; done 2>/dev/null`;
/** Has an interface, or a source, for one destination of each family. */
const THERE = `${WEB.ipv4} ${WEB.ipv6}`;

/** In a guest: the gateway of an interface. */
const gatewayBy = (device: string, family = 4) => `ip -${family} route show default dev ${device} | cut -d " " -f 3`;

/** What a guest is told of itself. */
interface Guest {
  readonly ipv4: string;
  readonly ipv6: string;
  /** By its interface in the network `open`. */
  readonly open: { readonly ipv4: string; readonly ipv6: string };
  readonly published: readonly { readonly hostPort: number }[];
  readonly tap: string;
}

function guestOf({ addresses, published, taps }: Omit<Guest, 'ipv4'> & { addresses: string[]; taps: string[] }): Guest {
  const [ipv4 = '', ipv6 = '', ...open] = addresses;
  return { ipv4, ipv6, open: { ipv4: open[0] ?? '', ipv6: open[1] ?? '' }, published, tap: taps[0] ?? '' };
}

describe.skipIf(process.getuid?.() !== 0)('guests in networks', { timeout: 120_000 }, () => {
  let lab: GuestLab;
  let before: unknown;
  let one: Guest;
  let two: Guest;

  beforeAll(async () => {
    lab = await GuestLab.open();
    before = await lab.traces();
    await lab.openTunnel();
    await lab.call('createNetwork', { name: 'open', isolated: false });
    await lab.call('createNetwork', { name: 'tunnel', via: 'wg0' });
    // The first one's files are those of its snapshot, too, and it alone has a metadata service.
    const mmds: IMmdsConfig = { version: 'V1', networkInterfaces: ['eth0'], contents: { role: 'first' } };
    const dns = [WEB.ipv4];
    const networks = [
      { ifaceId: 'eth0', dns },
      { ifaceId: 'eth1', network: 'open', dns },
    ];
    const publish = [`8080:${PORT}`, `127.0.0.1:0:${PORT}`, `[::1]:0:${PORT}`, '8053:53/udp'];
    one = guestOf(
      (await lab.call('boot', { ...GUEST, id: 'one', hostname: 'first', mmds, networks, publish })) as never,
    );
    await lab.sh('one', SERVE);
    two = guestOf(
      (await lab.call('launch', {
        ...GUEST,
        id: 'two',
        network: ['default', 'open', 'tunnel'],
        egress: 'none',
      })) as never,
    );
  }, BOOT_TIMEOUT_MS);

  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]();
  });

  it('have the addresses, routes, resolvers and names that they were given, on all their interfaces', async () => {
    const seen = await lab.sh(
      'one',
      'hostname; ip -o addr; ip route; ip -6 route; cat /etc/resolv.conf /etc/hosts; cat /proc/sys/net/ipv6/conf/eth1/accept_{ra,dad}',
    );
    for (const { ipv4, ipv6 } of [one, one.open]) {
      expect(seen).toContain(` ${ipv4}/24`);
      expect(seen).toContain(` ${ipv6}/64`);
    }
    expect(seen).toMatch(/^first\n/);
    expect(seen).toMatch(/default via 172\.30\.0\.1 dev eth0.* metric 100\b/);
    expect(seen).toMatch(/default via 172\.30\.1\.1 dev eth1.* metric 200\b/);
    expect(seen).toMatch(/default via fd\S+::1 dev eth0.* metric 100\b/);
    expect(seen).toContain(`nameserver ${WEB.ipv4}\n`);
    expect(seen).toContain(`${one.ipv4}\tfirst`);
    expect(seen).toContain(`${one.ipv6}\tfirst`);
    expect(seen).toMatch(/\n0\n0$/);
  });

  it('reach the internet behind the address of the host, by IPv4 and IPv6', async () => {
    expect(await lab.webs('one', WEB)).toEqual(THROUGH_NAT);
  });

  it('find names by the name server, where their policy lets them ask it', async () => {
    const lookUp = (id: string) => lab.sh(id, 'getent ahostsv4 web.test | head -1; getent ahostsv6 web.test | head -1');
    const found = await lookUp('one');
    expect(found).toContain(`${WEB.ipv4} `);
    expect(found).toContain(`${WEB.ipv6} `);
    expect(await lab.sh('one', 'getent hosts nosuch.test || echo none')).toBe('none');
    expect(await lookUp('two')).toBe('');
  });

  it('are refused what is not the internet, and reach it once a rule names it', async () => {
    const closed = [HOST.ipv4, HOST.ipv6, PRIVATE, METADATA];
    await lab.call('setEgress', 'two', 'internet');
    expect(await lab.webs('two', WEB)).toEqual(THROUGH_NAT);
    expect(await lab.silence('two', [], closed)).toEqual(closed.map(() => 'refused'));
    await lab.call('setEgress', 'two', [
      { action: 'allow', to: `${PRIVATE}/32`, ports: [80], protocol: 'tcp' },
      { action: 'allow', to: METADATA },
    ]);
    expect(await lab.silence('two', [], [PRIVATE, METADATA, WEB.ipv4, WEB.ipv6])).toEqual([
      ...[THROUGH_NAT[0], THROUGH_NAT[0]],
      ...REFUSED,
    ]);
  });

  it('have a policy from the moment on at which it is changed', async () => {
    await lab.call('setEgress', 'two', 'none');
    expect(await lab.webs('two', WEB)).toEqual(REFUSED);
    await lab.call('setEgress', 'two', 'internet');
    expect(await lab.webs('two', WEB)).toEqual(THROUGH_NAT);
    expect(await lab.sh('two', 'getent ahostsv4 web.test | head -1')).toContain(`${WEB.ipv4} `);
    await lab.call('setEgress', 'two', [{ action: 'allow', to: WEB.ipv6 }]);
    expect(await lab.webs('two', WEB)).toEqual(['refused', THROUGH_NAT[1]]);
    await lab.call('setEgress', 'two', 'internet', 'eth0');
    expect(await lab.webs('two', WEB)).toEqual(THROUGH_NAT);
  });

  it('are watched: what a policy refuses is told, and what somebody takes away is made again', async () => {
    await lab.call('watch', 'two');
    const seen = async () => JSON.stringify(await lab.call('events', 'two'));
    await until(
      async () => (await lab.web('two', METADATA, 81)) === 'refused' && (await seen()).includes(METADATA),
      30_000,
      'an event of what was refused',
    );
    expect(await lab.call('events', 'two')).toContainEqual(
      expect.objectContaining({ type: 'denied', ifaceId: 'eth0', to: METADATA, protocol: 'tcp', port: 81 }),
    );
    const counters = (await lab.call('counters', 'two')).find(({ ifaceId }) => ifaceId === 'eth0');
    expect(counters?.denied.packets).toBeGreaterThan(0);
    expect(counters?.refused.map(({ to }) => to)).toContain(METADATA);
    await lab.in('host', 'nft', 'flush', 'ruleset');
    await until(async () => (await seen()).includes('repaired'), 30_000, 'the repair');
    await lab.call('unwatch');
    expect(await lab.webs('two', WEB)).toEqual(THROUGH_NAT);
    expect(await lab.web('two', METADATA)).toBe('refused');
  });

  it('have a metadata service where one is configured, and only there', async () => {
    const ask = 'exec 3<>/dev/tcp/169.254.169.254/80 && printf "GET /role HTTP/1.0\\r\\n\\r\\n" >&3 && tail -1 <&3';
    expect(await lab.sh('one', ask)).toBe('first');
    expect(await lab.sh('two', ask)).toContain('Connection refused');
  });

  it('reach each other where their network is not isolated', async () => {
    await lab.call('setEgress', 'two', [{ action: 'allow', to: 'private' }]);
    expect(await lab.webs('two', one.open, PORT)).toEqual(['hello from first', 'hello from first']);
    expect((await lab.silence('two', [one.ipv4, one.ipv6], [], PORT)).join()).not.toContain('hello');
  });

  it('serve by a port of the host what a client outside, and the host itself, asks for', async () => {
    const [outside, loopback, loopback6] = one.published.map(({ hostPort }) => hostPort);
    expect(outside).toBe(8080);
    for (const [from, url] of [
      ['client', `http://${OUTSIDE.ipv4}:8080/`],
      ['client', `http://[${OUTSIDE.ipv6}]:8080/`],
      ['host', `http://127.0.0.1:8080/`],
      ['host', `http://${HOST.ipv4}:8080/`],
      ['host', `http://127.0.0.1:${loopback}/`],
      ['host', `http://[::1]:${loopback6}/`],
    ] as const) {
      expect([from, url, await lab.dial(from, url)]).toEqual([from, url, 'hello from first']);
    }
    expect(await lab.dial('client', `http://${OUTSIDE.ipv4}:${loopback}/`)).toBe('ECONNREFUSED');
  });

  it('serve datagrams by a port of the host, to clients outside and on the host', async () => {
    const server = `perl -MIO::Socket::IP -e '
      $server = IO::Socket::IP->new(LocalPort => 53, Proto => "udp", LocalHost => "::", V6Only => 0) or die;
      while ($server->recv($word, 999)) { $server->send("hello $word") }'`;
    await lab.sh(
      'one',
      `setsid -f ${server} >/dev/null 2>&1 </dev/null; until grep -q ':0035 ' /proc/net/udp6; do sleep 0.1; done`,
    );
    for (const address of [OUTSIDE.ipv4, OUTSIDE.ipv6]) {
      expect([address, await lab.datagram('client', address, 8053)]).toEqual([address, 'hello word']);
    }
    for (const address of ['127.0.0.1', '::1', OUTSIDE.ipv4]) {
      expect([address, await lab.datagram('host', address, 8053)]).toEqual([address, 'hello word']);
    }
  });

  it('are told of on the command line', async () => {
    const [, port, port6] = one.published.map(({ hostPort }) => hostPort);
    expect(await lab.smartvm('ps', '--format', '{{.ID}} {{.Ports}}')).toContain(
      `one 8080->${PORT}/tcp, 127.0.0.1:${port}->${PORT}/tcp, [::1]:${port6}->${PORT}/tcp, 8053->53/udp`,
    );
    const [inspected] = JSON.parse(await lab.smartvm('inspect', 'two')) as { networks: object[] }[];
    expect(inspected?.networks).toMatchObject([
      { network: 'default', ifaceId: 'eth0', ipv4: two.ipv4, ipv6: two.ipv6 },
      { network: 'open', ifaceId: 'eth1' },
      { network: 'tunnel', ifaceId: 'eth2' },
    ]);
    const [network] = JSON.parse(await lab.smartvm('network', 'inspect', 'default')) as { vms: { id: string }[] }[];
    expect(network?.vms.map(({ id }) => id).toSorted()).toEqual(['one', 'two']);
    expect(await lab.smartvm('network', 'ls', '--format', '{{.Name}} {{.Vms}} {{.State}}')).toContain('tunnel 1 up');
  });

  it('leave by the interface that their network names, and by no other when that is gone', async () => {
    await lab.call('setEgress', 'two', 'internet');
    const direct = await lab.sh('two', `for to in ${THERE}; do ip route get $to; done`);
    await lab.sh(
      'two',
      `ip route add ${WEB.ipv4} via $(${gatewayBy('eth2')}); ip -6 route add ${WEB.ipv6} via $(${gatewayBy('eth2', 6)})`,
    );
    expect(await lab.webs('two', WEB)).toEqual([`hello ${TUNNEL.ipv4}`, `hello ${TUNNEL.ipv6}`]);
    await lab.closeTunnel();
    expect((await lab.silence('two', [WEB.ipv4, WEB.ipv6])).join()).not.toContain('hello');
    await lab.sh('two', `ip route del ${WEB.ipv4}; ip -6 route del ${WEB.ipv6}`);
    expect(await lab.sh('two', `for to in ${THERE}; do ip route get $to; done`)).toBe(direct);
    expect(await lab.webs('two', WEB)).toEqual(THROUGH_NAT);
  });

  it('get out with no other address than their own', async () => {
    const drops = async () => {
      const of = await lab.drops(two.tap);
      return { mac: of('bad_mac'), ip: of('bad_ip') };
    };
    const [false4, false6] = ['172.30.0.77', two.ipv6.replace(/[^:]+$/, '77')];
    const [via4, via6] = [`via $(${gatewayBy('eth0')}) dev eth0`, `via $(${gatewayBy('eth0', 6)}) dev eth0`];
    await lab.sh('two', `ip addr add ${false4}/24 dev eth0; ip addr add ${false6}/64 dev eth0 nodad preferred_lft 0`);
    expect(await lab.webs('two', WEB)).toEqual(THROUGH_NAT);

    const honest = await drops();
    await lab.sh('two', `ip route add ${WEB.ipv4} ${via4} src ${false4}`);
    expect(await lab.silence('two', [WEB.ipv4], [WEB.ipv6])).toEqual(['silence', THROUGH_NAT[1]]);
    const ipv4 = await drops();
    expect(ipv4.ip).toBeGreaterThan(honest.ip);
    await lab.sh('two', `ip route del ${WEB.ipv4}; ip -6 route add ${WEB.ipv6} ${via6} src ${false6}`);
    expect(await lab.silence('two', [WEB.ipv6], [WEB.ipv4])).toEqual(['silence', THROUGH_NAT[0]]);
    const ipv6 = await drops();
    expect(ipv6.ip).toBeGreaterThan(ipv4.ip);
    expect(ipv6.mac).toBe(honest.mac);

    await lab.sh(
      'two',
      `ip -6 route del ${WEB.ipv6}; ip addr del ${false4}/24 dev eth0; ip addr del ${false6}/64 dev eth0`,
    );
    expect(await lab.webs('two', WEB)).toEqual(THROUGH_NAT);
    const mac = await lab.sh('two', 'cat /sys/class/net/eth0/address');
    await lab.sh('two', 'ip link set eth0 address 02:00:00:00:00:77');
    expect((await lab.silence('two', [WEB.ipv4])).join()).not.toContain('hello');
    expect((await drops()).mac).toBeGreaterThan(ipv6.mac);
    await lab.sh('two', `ip link set eth0 address ${mac}`);
    expect(await lab.webs('two', WEB)).toEqual(THROUGH_NAT);
  });

  it('that come out of a snapshot have addresses and a name of their own', async () => {
    const clone = guestOf((await lab.call('clone', 'one', 'clone', [{}, { network: 'open' }])) as never);
    expect([clone.ipv4, clone.ipv6]).not.toContain(one.ipv4);
    const seen = await lab.sh('clone', 'hostname; ip -o addr; cat /etc/hosts; cat /proc/[0-9]*/comm | grep -c perl');
    expect(seen).toMatch(/^clone\n/);
    for (const address of [`${clone.ipv4}/24`, `${clone.ipv6}/64`, `${clone.open.ipv4}/24`, `${clone.ipv4}\tclone`]) {
      expect(seen).toContain(address);
    }
    expect(seen).not.toContain(one.ipv4);
    expect(seen).not.toContain(one.ipv6);
    expect(seen).toMatch(/\n2$/); // what ran in the twin
    expect(await lab.webs('clone', WEB)).toEqual(THROUGH_NAT);
    expect(await lab.webs('two', clone.open, PORT)).toEqual(['hello from clone', 'hello from clone']);
  });

  it('are as the example shows them', async () => {
    const lines = (await lab.program('node_modules/.bin/tsx', 'examples/network.ts')).trimEnd().split('\n');
    expect(lines[0]).toMatch(/^addresses: 172\.30\.0\.\d+, fd[0-9a-f:]+$/);
    expect(lines[1]).toContain('Connection refused');
    expect(lines.at(-1)).toBe(`refused: tcp to port 80 of ${METADATA}`);
  });

  it('leave the network of the host as it was', async () => {
    await lab.call('end');
    expect(await lab.traces()).toEqual(before);
  });
});
