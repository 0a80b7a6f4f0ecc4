import { readFile, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { NetworkHost } from '../support/network-host.js';

const isRoot = process.getuid?.() === 0;

describe.runIf(isRoot)(`networks${isRoot ? '' : ' (need root)'}`, () => {
  let host: NetworkHost;
  let before: string;

  beforeEach(async () => {
    host = await NetworkHost.open();
    before = host.state();
  });
  afterEach(async () => {
    await host[Symbol.asyncDispose]();
  });

  test('a VM gets a TAP on the bridge with rules, and the last one takes all of it away', async () => {
    const program = host.networker();
    const one = await program.attach('one');
    expect(one).toMatchObject({
      network: 'default',
      prefixes: { ipv4: 24, ipv6: 64 },
      gateways: { ipv4: '172.30.0.1' },
    });
    expect(host.links()).toEqual(['svbr0', one.tapName]);
    expect(host.run('ip', '-details', 'link', 'show', one.tapName)).toMatch(
      /master svbr0[\s\S]*vnet_hdr on[\s\S]*isolated on/,
    );
    expect(host.run('nft', 'list', 'ruleset')).toContain(`"${one.tapName}" . ${one.mac} . ${one.ipv4}`);
    expect(host.run('sysctl', '-n', 'net.ipv4.ip_forward').trim()).toBe('1');
    await program.attach('two');
    await program.call({ call: 'release', id: 'one' });
    expect(host.links()).not.toContain(one.tapName);
    expect(host.run('nft', 'list', 'ruleset')).not.toContain(one.tapName);
    await program.call({ call: 'release', id: 'two' });
    expect(host.state()).toBe(before);
    expect(await host.leases()).toEqual([]);
  });

  test('a VM has the same MAC, name and addresses each time', async () => {
    const program = host.networker();
    const first = await program.attach('one');
    await program.call({ call: 'release', id: 'one' });
    expect(await program.attach('one')).toEqual(first);
  });

  test('an address that was asked for is had, and refused to others with whose it is', async () => {
    const program = host.networker();
    expect(await program.attach('one', { ipv4: '172.30.0.77' })).toMatchObject({ ipv4: '172.30.0.77' });
    const again = host.networker().attach('two', { ipv4: '172.30.0.77' });
    await expect(again).rejects.toMatchObject({ code: 'ADDRESS_TAKEN', message: expect.stringContaining('VM one') });
    for (const ipv4 of ['172.30.0.1', '172.30.0.255', '10.0.0.1', 'x']) {
      await expect(program.attach('three', { ipv4 })).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    }
    const mac = '02:00:00:00:00:99';
    await program.attach('four', { mac });
    await expect(program.attach('five', { mac })).rejects.toMatchObject({ code: 'ADDRESS_TAKEN' });
  });

  test('a pool that is empty: IP_EXHAUSTED, and what was taken before is given back', async () => {
    const program = host.networker({ ipv4: '172.30.0.0/30' });
    await program.attach('one');
    const taken = await host.leases();
    await expect(program.attach('two')).rejects.toMatchObject({ code: 'IP_EXHAUSTED' });
    expect(await host.leases()).toEqual(taken);
  });

  test('a subnet of a route of the host, or of another network: SUBNET_OVERLAPS, which says which', async () => {
    host.run('ip', 'link', 'add', 'lan0', 'type', 'bridge');
    host.run('ip', 'address', 'add', '172.30.0.9/16', 'dev', 'lan0');
    host.run('ip', 'link', 'set', 'lan0', 'up');
    before = host.state();
    const program = host.networker();
    await expect(program.attach('one')).rejects.toMatchObject({
      code: 'SUBNET_OVERLAPS',
      message: expect.stringContaining('172.30.0.0/16 over lan0'),
    });
    expect(host.state()).toBe(before);
    const create = (name: string, ipv4: string) => program.call({ call: 'create', options: { name, ipv4 } });
    await create('blue', '10.9.0.0/24');
    await expect(create('red', '10.9.0.128/25')).rejects.toMatchObject({
      code: 'SUBNET_OVERLAPS',
      message: expect.stringContaining('the network blue'),
    });
  });

  test("a stranger's interface of the bridge's name is never touched: INTERFACE_TAKEN", async () => {
    host.run('ip', 'link', 'add', 'svbr0', 'type', 'bridge');
    before = host.state();
    await expect(host.networker().attach('one')).rejects.toMatchObject({ code: 'INTERFACE_TAKEN' });
    expect(host.state()).toBe(before);
  });

  test("a stranger's interface of a TAP's name: the VM gets another name", async () => {
    const program = host.networker();
    const { tapName } = await program.attach('one');
    await program.call({ call: 'release', id: 'one' });
    host.run('ip', 'link', 'add', tapName, 'type', 'bridge');
    before = host.state();
    expect((await program.attach('one')).tapName).not.toBe(tapName);
    await program.call({ call: 'release', id: 'one' });
    expect(host.state()).toBe(before);
  });

  test('without CAP_NET_ADMIN: NET_ADMIN_MISSING, and nothing is left', async () => {
    const program = host.networker({}, { capability: 'net_admin' });
    await expect(program.attach('one')).rejects.toMatchObject({ code: 'NET_ADMIN_MISSING' });
    expect(await host.leases()).toEqual([]);
  });

  test('an MTU that is too small: INVALID_NETWORK', async () => {
    const create = (options: object) =>
      host.networker().call({ call: 'create', options: { name: 'small', ...options } });
    await expect(create({ mtu: 1279 })).rejects.toMatchObject({ code: 'INVALID_NETWORK' });
    await expect(create({ mtu: 575, ipv6: null })).rejects.toMatchObject({ code: 'INVALID_NETWORK' });
    expect(await create({ mtu: 1279, ipv6: null })).toMatchObject({ mtu: 1279 });
  });

  test('a ruleset that somebody flushed, and a bridge that somebody removed, are made again', async () => {
    const program = host.networker();
    const one = await program.attach('one');
    host.run('nft', 'flush', 'ruleset');
    const two = await program.attach('two');
    const rules = host.run('nft', 'list', 'ruleset');
    expect(rules).toContain(`"${one.tapName}" . ${one.mac} . ${one.ipv4}`);
    expect(rules).toContain(`"${two.tapName}" . ${two.mac} . ${two.ipv4}`);
    host.run('nft', 'flush', 'ruleset');
    host.run('ip', 'link', 'delete', 'svbr0');
    await program.call({ call: 'reconcile' });
    expect(host.run('nft', 'list', 'ruleset')).toBe(rules);
    expect(host.run('ip', 'link', 'show', 'master', 'svbr0')).toContain(one.tapName);
    host.run('nft', 'flush', 'ruleset');
    await program.call({ call: 'release', id: 'one' });
    await program.call({ call: 'release', id: 'two' });
    expect(host.state()).toBe(before);
  });

  test('of two programs that are killed over it, the next undoes all', async () => {
    const [first, second] = [host.networker({ ipv4: '172.30.0.0/29' }), host.networker({ ipv4: '172.30.0.0/29' })];
    const all = await Promise.all(
      ['a', 'b', 'c', 'd', 'e'].map((id, index) => (index % 2 === 0 ? first : second).attach(id)),
    );
    expect(new Set(all.map(({ ipv4 }) => ipv4)).size).toBe(5);
    await first.kill();
    await second.kill();
    const third = host.networker({ ipv4: '172.30.0.0/29' });
    const next = await third.attach('f');
    expect(host.links()).toEqual(['svbr0', next.tapName]);
    await third.call({ call: 'release', id: 'f' });
    expect(host.state()).toBe(before);
  });

  test('what a policy was changed to is undone with its VM, and a policy goes with the last that has it', async () => {
    const program = host.networker();
    const policies = () => host.run('nft', 'list', 'chains').match(/egress-[0-9a-f]{16}/g) ?? [];
    await program.attach('one');
    await program.attach('two');
    const [shared] = policies();
    expect(policies()).toEqual([shared]);
    const rules = [{ action: 'allow', to: '10.0.0.0/8' }] as const;
    await program.call({ call: 'change', id: 'one', change: { egress: rules } });
    await program.call({ call: 'change', id: 'two', change: { egress: rules } });
    expect(policies()).toHaveLength(1);
    expect(policies()).not.toContain(shared);
    await program.call({ call: 'change', id: 'two', change: { egress: 'none' } });
    expect(policies()).toHaveLength(2);
    await program.call({ call: 'release', id: 'one' });
    expect(policies()).toHaveLength(1);
    await program.call({ call: 'release', id: 'two' });
    expect(host.state()).toBe(before);
  });

  test('a record that its program did not come to act on is no hindrance: the tables are made as the records say', async () => {
    const program = host.networker();
    const one = await program.attach('one');
    await program.attach('two');
    const folder = host.scratch.file('run', '.networks', 'attachments');
    const path = `${folder}/${one.tapName}.json`;
    await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), egress: 'none' }));
    await program.call({ call: 'release', id: 'one' });
    expect(host.run('nft', 'list', 'ruleset')).not.toContain(one.ipv4);
    await program.call({ call: 'release', id: 'two' });
    expect(host.state()).toBe(before);
  });

  test("a bridge that is there: its owner's, to which a VM's TAP is added", async () => {
    host.run('ip', 'link', 'add', 'lan0', 'address', '02:00:00:00:00:01', 'type', 'bridge');
    before = host.state();
    const program = host.networker();
    const options = {
      name: 'lan',
      mode: 'bridge',
      bridge: 'lan0',
      ipv4: '192.168.7.0/24',
      gateway: '192.168.7.254',
    } as const;
    await program.call({ call: 'create', options: { ...options, ipv6: null } });
    const one = await program.attach('one', { network: 'lan' });
    expect(one).toMatchObject({ gateways: { ipv4: '192.168.7.254' } });
    expect(host.run('ip', 'link', 'show', 'master', 'lan0')).toContain(one.tapName);
    await expect(program.call({ call: 'remove', name: 'lan' })).rejects.toMatchObject({ code: 'NETWORK_IN_USE' });
    await program.call({ call: 'release', id: 'one' });
    expect(host.state()).toBe(before);
    host.run('ip', 'link', 'delete', 'lan0');
    await expect(program.attach('one', { network: 'lan' })).rejects.toMatchObject({ code: 'INTERFACE_GONE' });
  });
});
