import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Egress } from '../../ts/config/egress.js';
import {
  attachElements,
  type BoundPort,
  baseRuleset,
  changeElements,
  changeIsolation,
  detachElements,
  networkElements,
  type PolicyAttachment,
  withdrawNetwork,
} from '../../ts/network/policy/ruleset.js';
import { reconcile, type Wire } from '../../ts/network/policy/sweep.js';
import { viaRemoval, viaRoutes, viaRule } from '../../ts/network/policy/via.js';
import {
  attachmentOf,
  GATEWAY,
  HOST,
  INTERNET,
  LINK_LOCAL,
  METADATA,
  NEIGHBOUR,
  NETWORK,
  NetLab,
  TUNNEL,
} from '../support/net-lab.js';

const REFUSED = 'ECONNREFUSED';

describe('a guest behind NAT', () => {
  let lab: NetLab;
  beforeAll(async () => {
    lab = await NetLab.create();
    await Promise.all([lab.serve('internet'), lab.serve('host')]);
    await lab.addGuest(1);
  });
  afterAll(() => lab.remove());

  test('reaches the internet with the address of the host, by IPv4 and IPv6', async () => {
    expect(await lab.dial('g1', INTERNET.ipv4)).toBe(HOST.ipv4);
    expect(await lab.dial('g1', INTERNET.ipv6)).toBe(HOST.ipv6);
    expect(await lab.dial('g1', INTERNET.ipv4, 53, 'udp')).toBe('ok');
    expect(await lab.dial('g1', INTERNET.ipv6, 53, 'udp5000')).toBe('ok');
  });

  test.each([
    ['the host by its gateway', GATEWAY.ipv4],
    ['the host by its gateway, IPv6', GATEWAY.ipv6],
    ['the host by its address outside', HOST.ipv4],
    ['the host by its address outside, IPv6', HOST.ipv6],
    ['the metadata address', METADATA],
    ['a private address', NEIGHBOUR.ipv4],
    ['a unique local address', NEIGHBOUR.ipv6],
  ])('is refused %s', async (_what, address) => {
    const before = (await lab.counters()).refused.find(({ to }) => to === address)?.packets ?? 0;
    expect(await lab.dial('g1', address)).toBe(REFUSED);
    const attempt = (await lab.counters()).refused.find(({ to }) => to === address);
    expect(attempt).toMatchObject({ protocol: 'tcp', port: 80 });
    expect(attempt?.packets).toBeGreaterThan(before);
  });
});

describe('a policy', () => {
  let lab: NetLab;
  beforeAll(async () => {
    lab = await NetLab.create();
    await Promise.all([lab.serve('internet'), lab.serve('host')]);
  });
  afterAll(() => lab.remove());

  const change = async (attachment: PolicyAttachment, before: Egress, after: Egress) =>
    await lab.rules(changeElements(attachment, { egress: before, ports: [] }, { egress: after, ports: [] }));

  test('takes effect at once, on what is open too, and back', async () => {
    const guest = await lab.addGuest(1);
    const held = await lab.hold('g1', INTERNET.ipv4);
    const held6 = await lab.hold('g1', INTERNET.ipv6);
    expect(await held.say('one')).toBe('echo one');
    expect(await held6.say('one')).toBe('echo one');
    await change(guest, 'internet', 'none');
    expect(await held.say('two')).toBe('ECONNRESET');
    expect(await held6.say('two')).toBe('ECONNRESET');
    expect(await lab.dial('g1', INTERNET.ipv4)).toBe(REFUSED);
    expect(await lab.dial('g1', INTERNET.ipv4, 53, 'udp')).toBe('EHOSTUNREACH');
    await change(guest, 'none', 'internet');
    expect(await lab.dial('g1', INTERNET.ipv4)).toBe(HOST.ipv4);
  });

  test('lets nothing of an open connection in either', async () => {
    const guest = await lab.addGuest(2, { egress: 'internet' });
    const held = await lab.hold('g2', INTERNET.ipv4, 9);
    expect(await held.next()).toMatch(/^echo tick/);
    await change(guest, 'internet', 'none');
    // What was on its way; then nothing.
    await expect.poll(() => held.next()).toBe('silence');
    expect(await held.next()).toBe('silence');
  });

  test('is decided by the first rule that matches', async () => {
    const rules: Egress = [
      { action: 'deny', to: INTERNET.ipv4, ports: [80], protocol: 'tcp' },
      { action: 'allow', to: `${INTERNET.ipv4}/24` },
      { action: 'allow', to: '0.0.0.0/0' },
      { action: 'allow', to: NEIGHBOUR.ipv6, ports: ['79-80'] },
      { action: 'allow', to: 'host', ports: [80], protocol: 'tcp' },
    ];
    await lab.addGuest(3, { egress: rules });
    expect(await lab.dial('g3', INTERNET.ipv4)).toBe(REFUSED);
    expect(await lab.dial('g3', INTERNET.ipv4, 7)).toBe('ok');
    expect(await lab.dial('g3', INTERNET.ipv6)).toBe(REFUSED);
    expect(await lab.dial('g3', NEIGHBOUR.ipv4)).toBe(REFUSED);
    expect(await lab.dial('g3', METADATA)).toBe(REFUSED);
    expect(await lab.dial('g3', NEIGHBOUR.ipv6)).toBe(HOST.ipv6);
    expect(await lab.dial('g3', NEIGHBOUR.ipv6, 7)).toBe(REFUSED);
    expect(await lab.dial('g3', GATEWAY.ipv4)).toBe(attachmentOf(3).ipv4);
    expect(await lab.dial('g3', HOST.ipv6)).toBe(attachmentOf(3).ipv6);
    expect(await lab.dial('g3', HOST.ipv4, 7)).toBe(REFUSED);
  });

  test.each([
    ['metadata', METADATA, NEIGHBOUR.ipv4],
    ['private', NEIGHBOUR.ipv4, METADATA],
    ['link-local', LINK_LOCAL, METADATA],
    [NEIGHBOUR.ipv4, NEIGHBOUR.ipv4, METADATA],
    ['169.254.0.0/16', LINK_LOCAL, METADATA],
    ['10.0.0.0/8', NEIGHBOUR.ipv4, INTERNET.ipv4],
    [METADATA, METADATA, LINK_LOCAL],
  ])('that allows %s allows %s and not %s', async (to, open, shut) => {
    const guest = await lab.addGuest(4, { egress: [{ action: 'allow', to }] });
    expect([await lab.dial('g4', open), await lab.dial('g4', shut)]).toEqual([HOST.ipv4, REFUSED]);
    await lab.removeGuest(4);
    await lab.rules(detachElements(guest, [{ action: 'allow', to }]));
  });

  test('of dns alone lets questions through', async () => {
    await lab.addGuest(5, { egress: [{ action: 'allow', to: 'dns' }] });
    expect(await lab.dial('g5', INTERNET.ipv4, 53, 'udp')).toBe('ok');
    expect(await lab.dial('g5', INTERNET.ipv4)).toBe(REFUSED);
    expect(await lab.dial('g5', INTERNET.ipv6, 53, 'udp')).toBe('EACCES');
  });

  test('lets errors about its flows back, and fragments', async () => {
    const egress: Egress = [{ action: 'allow', protocol: 'udp', ports: [53, 54] }];
    await lab.addGuest(6, { egress });
    for (const address of [INTERNET.ipv4, INTERNET.ipv6]) {
      expect(await lab.dial('g6', address, 54, 'udp')).toBe(REFUSED);
      expect(await lab.dial('g6', address, 53, 'udp5000')).toBe('ok');
    }
  });
});

describe('two guests of a network', () => {
  let lab: NetLab;
  let guests: readonly PolicyAttachment[];
  beforeAll(async () => {
    lab = await NetLab.create();
    guests = [await lab.addGuest(1), await lab.addGuest(2)];
    await lab.serve('g2');
  });
  afterAll(() => lab.remove());

  const [, second] = [attachmentOf(1), attachmentOf(2)];
  const dialBoth = async () => [await lab.dial('g1', second.ipv4 ?? ''), await lab.dial('g1', second.ipv6 ?? '')];

  // As a host with br_netfilter has it, whose bridged frames pass the rules for routed packets too; and as one without.
  test.each([1, 0])('are kept apart, then let together (bridge-nf-call-iptables=%i)', async (filtered) => {
    const names = ['iptables', 'ip6tables'].map((name) => `net.bridge.bridge-nf-call-${name}=${filtered}`);
    await lab.in('host', 'sysctl', ['-qw', ...names]);
    expect(await dialBoth()).toEqual(['timeout', 'timeout']);
    expect(await lab.drops('tap1', 'isolated')).toBeGreaterThan(0);
    const open = { ...NETWORK, isolated: false };
    const attachments = guests.map((guest) => ({ ...guest, network: open }));
    await lab.rules(changeIsolation(NETWORK, open, guests));
    expect(await dialBoth()).toEqual([guests[0]?.ipv4, guests[0]?.ipv6]);
    await lab.rules(changeIsolation(open, NETWORK, attachments));
    expect(await dialBoth()).toEqual(['timeout', 'timeout']);
  });

  test('cannot go round by the gateway', async () => {
    await lab.ip(
      'g1',
      `route replace ${second.ipv4}/32 via ${GATEWAY.ipv4}`,
      `route replace ${second.ipv6}/128 via ${GATEWAY.ipv6}`,
    );
    expect(await dialBoth()).toEqual([REFUSED, REFUSED]);
  });
});

describe('a published port', () => {
  let lab: NetLab;
  let guest: PolicyAttachment;
  const ports: readonly BoundPort[] = [
    { hostPort: 8080, guestPort: 80, protocol: 'tcp' },
    { hostIp: HOST.ipv4, hostPort: 5353, guestPort: 53, protocol: 'udp' },
  ];
  beforeAll(async () => {
    lab = await NetLab.create();
    guest = await lab.addGuest(1, { egress: 'none', ports });
    await lab.serve('g1');
  });
  afterAll(() => lab.remove());

  test('is reached from another namespace, which the guest sees as it is', async () => {
    expect(await lab.dial('internet', HOST.ipv4, 8080)).toBe(INTERNET.ipv4);
    expect(await lab.dial('internet', HOST.ipv6, 8080)).toBe(INTERNET.ipv6);
    expect(await lab.dial('internet', HOST.ipv4, 5353, 'udp')).toBe('ok');
    expect(await lab.dial('internet', HOST.ipv6, 5353, 'udp')).toBe(REFUSED);
  });

  test('is all that is reached, by a route to the guest too', async () => {
    await lab.ip('internet', `route add ${NETWORK.ipv4} via ${HOST.ipv4}`);
    expect(await lab.dial('internet', guest.ipv4 ?? '', 80)).toBe(INTERNET.ipv4);
    expect(await lab.dial('internet', guest.ipv4 ?? '', 7)).toBe('timeout');
  });

  test('ends at once, with what is open, when it is no longer published', async () => {
    const held = await lab.hold('internet', HOST.ipv4, 8080);
    const withdrawn = { egress: 'none', ports: [] } as const;
    await lab.rules(changeElements(guest, { egress: 'none', ports }, withdrawn));
    expect(await held.say('GET / HTTP/1.0\r\n\r\n')).toBe('silence');
    expect(await lab.dial('internet', HOST.ipv4, 8080)).toBe(REFUSED);
    await lab.rules(changeElements(guest, withdrawn, { egress: 'none', ports }));
    expect(await lab.dial('internet', HOST.ipv4, 8080)).toBe(INTERNET.ipv4);
  });
});

describe('a network that leaves by one interface', () => {
  let lab: NetLab;
  const through = { ...NETWORK, via: 'wg0' };
  beforeAll(async () => {
    lab = await NetLab.create();
    await lab.serve('internet');
    await lab.addTunnel('wg0');
    await lab.rules([...withdrawNetwork(NETWORK), ...networkElements(through)]);
    await lab.via(viaRoutes('svbr0', 'wg0'), viaRoutes('svbr0', 'wg0', TUNNEL.gateway6));
    await lab.via([viaRule('svbr0')]);
    await lab.addGuest(1, { network: through });
  });
  afterAll(() => lab.remove());

  test('does so, and by no other when that is gone', async () => {
    expect(await lab.dial('g1', INTERNET.ipv4)).toBe(TUNNEL.ipv4);
    expect(await lab.dial('g1', INTERNET.ipv6)).toBe(TUNNEL.ipv6);
    await lab.ip('host', 'link delete wg0');
    expect(await lab.dial('g1', INTERNET.ipv4)).toMatch(/UNREACH|EACCES/);
    expect(await lab.dial('g1', INTERNET.ipv6)).toMatch(/UNREACH|EACCES/);
    expect(await lab.dial('host', INTERNET.ipv4)).toBe(HOST.ipv4);
    // Nor where somebody has taken the rule away that leads to the table.
    await lab.ip('host', ...viaRemoval('svbr0'));
    expect(await lab.dial('g1', INTERNET.ipv4)).toBe(REFUSED);
    await lab.addTunnel('wg0');
    await lab.via(viaRoutes('svbr0', 'wg0'), viaRoutes('svbr0', 'wg0', TUNNEL.gateway6));
    await lab.ip('host', viaRule('svbr0'));
    expect(await lab.dial('g1', INTERNET.ipv4)).toBe(TUNNEL.ipv4);
  });
});

describe('200 guests', () => {
  let lab: NetLab;
  beforeAll(async () => {
    lab = await NetLab.create();
  });
  afterAll(() => lab.remove());

  const wires: readonly Wire[] = Array.from({ length: 200 }, (_, index) => ({
    attachment: attachmentOf(index + 1),
    egress: index % 2 === 0 ? 'internet' : 'none',
    ports: [{ hostPort: 10_000 + index, guestPort: 80, protocol: 'tcp' }],
  }));
  const attach = ({ attachment, egress, ports }: Wire) => attachElements(attachment, egress, ports);

  test('have as many rules as two, and flushing or strays are put right', async () => {
    for (const wire of wires.slice(0, 2)) {
      await lab.rules(attach(wire));
    }
    const two = await lab.rulesAndElements();
    await lab.rules(wires.slice(2).flatMap(attach));
    const all = await lab.rulesAndElements();
    expect(all.rules).toBe(two.rules);
    expect(all.elements).toBeGreaterThan(two.elements * 10);

    await lab.rules(reconcile(await lab.listings(), [NETWORK], wires));
    expect(await lab.rulesAndElements()).toEqual(all);
    await lab.rules(reconcile(await lab.listings(), [NETWORK], wires.slice(0, 2)));
    expect(await lab.rulesAndElements()).toEqual(two);
    await lab.in('host', 'nft', ['flush', 'ruleset']);
    await lab.rules([baseRuleset(), ...reconcile([], [NETWORK], wires)]);
    expect(await lab.rulesAndElements()).toEqual(all);
    await lab.rules(wires.flatMap(({ attachment, egress, ports }) => detachElements(attachment, egress, ports)));
    await lab.rules(withdrawNetwork(NETWORK));
    await lab.rules(reconcile(await lab.listings(), [], []));
    await lab.in('host', 'nft', ['flush', 'chain', 'inet', 'smartvm', 'refuse']);
    await lab.rules([baseRuleset()]);
    expect(await lab.rulesAndElements()).toEqual(lab.empty);
  });
});
