import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { NetworkRequest } from '../../ts/config/network.js';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import { runBy } from '../support/jailed.js';
import { until } from '../support/leftovers.js';
import { VMMS } from '../support/toy-vm.js';
import { VmHost } from '../support/vm-program.js';

const isRoot = process.getuid?.() === 0;

describe.runIf(isRoot).each(VMMS)('$name: a VM in a network', (vmm) => {
  let host: VmHost;
  let before: string;

  beforeEach(async () => {
    host = await VmHost.open(vmm);
    before = host.net.state();
  });
  afterEach(async () => {
    await host[Symbol.asyncDispose]();
  });

  /** Ports of the host on which somebody listens. */
  const listening = (protocol: 'tcp' | 'udp') =>
    [...host.net.run('ss', '-Hln', `--${protocol}`).matchAll(/:(\d+)\s+\S+:\*/g)].map(([, port]) => Number(port));
  const rules = () => host.net.run('nft', 'list', 'ruleset');

  test('has its ports when it runs, or fails with the one that is taken and leaves nothing', async () => {
    const program = host.program();
    const publish = ['127.0.0.1:0:80', '8080:80', '[::]:8053:53/udp'];
    const { published } = await program.call('start', host.toy('one'), { networks: [{}], publish });
    const free = published[0]?.hostPort ?? 0;
    expect(free).toBeGreaterThan(0);
    expect(published).toEqual([
      { hostIp: '127.0.0.1', hostPort: free, guestPort: 80, protocol: 'tcp' },
      { hostPort: 8080, guestPort: 80, protocol: 'tcp' },
      { hostIp: '::', hostPort: 8053, guestPort: 53, protocol: 'udp' },
    ]);
    expect(listening('tcp').toSorted()).toEqual([8080, free].toSorted());
    expect(listening('udp')).toEqual([8053]);
    expect(rules()).toMatch(/tcp \. 8080 : 172\.30\.0\.\d+ \. 80/);
    const [holdings, links] = [await host.holdings(), host.net.links()];
    const taken = program.call('start', host.toy('two'), { networks: [{}], publish: ['8081:80', '8080:8080'] });
    await expect(taken).rejects.toMatchObject({
      code: 'PORT_TAKEN',
      message: expect.stringContaining('8080:8080'),
      details: { hostPort: 8080, guestPort: 8080, protocol: 'tcp' },
    });
    expect([await host.holdings(), host.net.links()]).toEqual([holdings, links]);
    expect(listening('tcp')).not.toContain(8081);
    const elsewhere = program.call('start', host.toy('two'), { networks: [{}], publish: ['192.0.2.1:80:80'] });
    await expect(elsewhere).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    await expect(program.call('start', host.toy('two'), { publish: ['80:80'] })).rejects.toMatchObject({
      code: 'INVALID_OPTION',
    });
    await program.call('stop', 'one');
    expect([listening('tcp'), listening('udp'), host.net.state()]).toEqual([[], [], before]);
    await program.call('start', host.toy('two'), { networks: [{}], publish: ['8080:80'] });
    await program.call('end');
    expect([host.net.state(), await host.holdings()]).toEqual([before, []]);
  });

  test('that is detached keeps its ports, which any program changes, until its end', async () => {
    const first = host.program();
    await first.call('start', host.toy('one'), { networks: [{}], publish: ['8080:80'], detached: true });
    await first.kill();
    const second = host.program();
    const { published } = await second.call('attach', 'one');
    expect(published).toMatchObject([{ hostPort: 8080 }]);
    expect(listening('tcp')).toEqual([8080]);
    await second.call('start', host.toy('two'), { networks: [{}], publish: ['9000:80'] });
    await expect(second.call('publish', 'one', ['8081:80', '9000:80'])).rejects.toMatchObject({ code: 'PORT_TAKEN' });
    expect(listening('tcp').toSorted()).toEqual([8080, 9000]);
    await second.call('publish', 'one', ['8081:80', '8080:80']);
    expect(listening('tcp').toSorted()).toEqual([8080, 8081, 9000]);
    expect(rules()).toContain('tcp . 8081 :');
    await second.call('publish', 'one', []);
    expect(listening('tcp')).toEqual([9000]);
    expect(rules()).not.toContain('tcp . 8081 :');
    await second.call('publish', 'one', ['8080:81']);
    await second.call('end');
    expect(listening('tcp')).toEqual([8080]);
    const third = host.program();
    await third.call('attach', 'one');
    await third.call('stop', 'one');
    expect([listening('tcp'), host.net.state(), await host.holdings()]).toEqual([[], before, []]);
  });

  test('whose ports a dead one had gets them, though nobody has undone that one', async () => {
    const first = host.program();
    await first.call('start', host.toy('one'), { networks: [{}], publish: ['8080:80'] });
    const second = host.program();
    await second.call('start', host.toy('two'), { networks: [{}] });
    await first.kill();
    await until(async () => listening('tcp').length === 0, 15_000, 'the end of its keeper');
    expect(rules()).toContain('tcp . 8080 :');
    const { interfaces } = await second.call('start', host.toy('three'), { networks: [{}], publish: ['8080:80'] });
    expect(rules()).toContain(`tcp . 8080 : ${interfaces[0]?.attachment.ipv4} . 80`);
    await second.call('prune');
    await second.call('end');
    expect([host.net.state(), await host.holdings()]).toEqual([before, []]);
  });

  test('out of a snapshot has an interface and addresses of its own, beside its twin', async () => {
    const program = host.program();
    const file = (name: string) => host.net.scratch.file(name);
    const files = { snapshotPath: file('state'), memFilePath: file('memory') };
    const restore = {
      snapshotPath: files.snapshotPath,
      memBackend: { backendType: 'File' as const, backendPath: files.memFilePath },
    };
    const networks = [{}];
    const one = await program.call('start', host.toy('one'), { networks });
    await program.call('snapshot', 'one', files);
    const two = await program.call('start', { id: 'two' }, { networks, restore, publish: ['8080:80'] });
    const [a, b] = [one.interfaces[0]?.wire, two.interfaces[0]?.wire];
    const own = [a, b].flatMap((wire) => [wire?.tapName, wire?.ipv4, wire?.ipv6, wire?.mac]);
    expect(new Set(own).size).toBe(8);
    expect(host.net.links().toSorted()).toEqual(['svbr0', a?.tapName, b?.tapName].toSorted());
    expect(two.published).toHaveLength(1);

    // In namespaces of their own, both have the addresses that the twin had.
    await program.call('createNetwork', { name: 'apart', mode: 'netns' });
    const apart = { networks: [{ network: 'apart' }], restore };
    const three = await program.call('start', { id: 'three' }, apart);
    const four = await program.call('start', { id: 'four' }, apart);
    const [c, d] = [three.interfaces[0], four.interfaces[0]];
    const inner = (one: typeof c) => [one?.attachment.ipv4, one?.attachment.ipv6, one?.attachment.mac];
    expect(inner(d)).toEqual(inner(c));
    expect(
      new Set([a, b, c?.wire, d?.wire].flatMap((wire) => [wire?.tapName, wire?.ipv4, wire?.ipv6, wire?.mac])).size,
    ).toBe(16);
    await program.call('end');
    expect([host.net.state(), await host.holdings()]).toEqual([before, []]);
  });

  test('of a user who is not root is in networks of the VMM, or refused and leaves nothing', async (context) => {
    const nobody = 65_534;
    const reads = (path: string) => runBy(nobody, 'test', '-r', path);
    const readable = [await reads(join(PACKAGE_ROOT, 'dist/index.js')), await reads(vmm.path)];
    context.skip(
      readable.some(({ code }) => code !== 0),
      'others cannot read this package, or the VMM, here',
    );
    const program = await host.programOf(nobody);
    await program.call('createNetwork', { name: 'blue' });
    const refused = async (networks: NetworkRequest[], code: string, publish: string[] = []) => {
      const start = program.call('start', host.toy('one'), { networks, publish });
      await expect(start).rejects.toMatchObject({ code });
      expect([host.net.state(), await host.holdings('home')]).toEqual([before, []]);
    };
    await refused([{ network: 'blue' }], 'NET_ADMIN_MISSING');
    if (vmm.name === 'Firecracker') {
      await refused([{}], 'NETWORK_UNSUPPORTED');
      return;
    }
    await refused([{}], 'NETWORK_UNSUPPORTED', ['8080:80']);
    await program.call('start', host.toy('one'), { networks: [{}] });
    expect(host.net.state()).toBe(before);
    await program.call('end');
    expect([host.net.state(), await host.holdings('home')]).toEqual([before, []]);
  });

  test('whose rules or interface somebody takes away is told of by the doctor and to who watches, and ends whole', async () => {
    const program = host.program();
    const finding = async () => (await program.call('doctor', 'network-rules'))[0];
    expect(await finding()).toMatchObject({ verdict: 'ok' });
    const { interfaces } = await program.call('start', host.toy('one'), { networks: [{}] });
    const tapName = interfaces[0]?.wire.tapName as string;
    expect(await finding()).toMatchObject({ verdict: 'ok', detail: 'in place for one' });
    const whole = rules();
    host.net.run('nft', 'flush', 'ruleset');
    expect(await finding()).toMatchObject({
      verdict: 'fail',
      detail: expect.stringContaining('rules of one:'),
      remedy: 'smartvm network inspect default',
    });
    expect(await program.call('inspectNetwork', 'default')).toEqual([]);
    expect([(await finding())?.verdict, rules()]).toEqual(['ok', whole]);

    const watched = program.call('watch', 'one');
    host.net.run('ip', 'link', 'delete', tapName);
    await until(async () => (await program.call('events')).length > 0, 60_000, 'word of its interface');
    expect(await finding()).toMatchObject({ verdict: 'warn', detail: expect.stringContaining('interfaces of one:') });
    expect(await program.call('inspectNetwork', 'default')).toEqual([tapName]);
    await program.call('stop', 'one');
    await watched;
    expect(await program.call('events')).toEqual([{ type: 'gone', ifaceId: 'eth0', tapName }]);
    await program.call('start', host.toy('one'), { networks: [{}] });
    expect(host.net.links().toSorted()).toEqual(['svbr0', tapName].toSorted());
    await program.call('end');
    expect([host.net.state(), await host.holdings()]).toEqual([before, []]);
  });
});
