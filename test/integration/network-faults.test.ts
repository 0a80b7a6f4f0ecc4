import { realpathSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { NetworkHost } from '../support/network-host.js';

const isRoot = process.getuid?.() === 0;
/** Of those before which a program is killed. */
const CHANGES_APART = Number(process.env.SMARTVM_TEST_CHANGES_APART ?? 4);

describe.runIf(isRoot)('faults of networks', { timeout: 600_000 }, () => {
  let host: NetworkHost;
  let before: string;

  beforeEach(async () => {
    host = await NetworkHost.open();
    before = host.state();
  });
  afterEach(async () => {
    await host[Symbol.asyncDispose]();
  });

  const pathOf = (tool: string) => realpathSync(host.run('sh', '-c', `command -v ${tool}`).trim());

  test.each(['nft', 'ip'])('no %s on the host: TOOL_MISSING, and nothing is made', async (tool) => {
    const program = host.networker({}, { tool: pathOf(tool) });
    await expect(program.attach('one')).rejects.toMatchObject({
      code: 'TOOL_MISSING',
      message: expect.stringMatching(/apt-get install (nftables|iproute2)/),
    });
    expect([await host.leases(), host.state()]).toEqual([[], before]);
  });

  test('a name that is taken: NETWORK_EXISTS, for all but one of several who take it at once', async () => {
    const programs = [host.networker(), host.networker(), host.networker()];
    const results = await Promise.allSettled(
      programs.map((program) => program.call({ call: 'create', options: { name: 'blue' } })),
    );
    const refused = results.flatMap((result) => (result.status === 'rejected' ? [result.reason.code] : []));
    expect(refused).toEqual(['NETWORK_EXISTS', 'NETWORK_EXISTS']);
  });

  test('a network that is up and defined anew: NETWORK_EXISTS, and what is up stays', async () => {
    await host.networker().attach('one');
    const state = host.state();
    const other = host.networker({ bridge: 'svbr1', ipv4: '10.77.0.0/24' });
    await expect(other.attach('two')).rejects.toMatchObject({ code: 'NETWORK_EXISTS' });
    expect(host.state()).toBe(state);
  });

  test('networks that another runtime directory knows of: NETWORKS_ELSEWHERE, and what is up stays, until its end', async () => {
    const [one, other] = [host.networker(), host.networker({}, { runtimeDir: true })];
    const options = { name: 'blue', bridge: 'svbr1', ipv4: '10.77.0.0/24' };
    await other.call({ call: 'create', options });
    await one.attach('one');
    const state = host.state();
    for (const network of ['default', 'blue']) {
      await expect(other.attach('two', { network })).rejects.toMatchObject({
        code: 'NETWORKS_ELSEWHERE',
        message: expect.stringContaining(host.scratch.file('run')),
      });
    }
    await other.call({ call: 'reconcile' });
    expect(host.state()).toBe(state);
    await one.call({ call: 'release', id: 'one' });
    await other.attach('two', { network: 'blue' });
    await expect(one.attach('one')).rejects.toMatchObject({ message: expect.stringContaining("/other's #run:") });
    await other.call({ call: 'release', id: 'two' });
    expect(host.state()).toBe(before);
  });

  test('an interface that another runtime directory has left: what holds up nobody, and how the rest is removed', async () => {
    const program = host.networker();
    const isRefused = async (words: string) =>
      await expect(program.attach('one')).rejects.toMatchObject({
        code: 'NETWORKS_ELSEWHERE',
        message: expect.stringContaining(words),
      });
    for (const directory of [host.scratch.file('gone'), '/%zz', `sha256-${'0'.repeat(64)}`]) {
      host.leave('svold', directory);
      await isRefused('ip link delete svold');
      host.run('ip', 'link', 'delete', 'svold');
      expect(host.state()).toBe(before);
    }

    const other = host.networker({}, { runtimeDir: true });
    await other.attach('two');
    await other.kill();
    const quoted = host.scratch.file("other's #run").replace("'", "'\\''");
    await isRefused(`SMARTVM_RUNTIME_DIR='${quoted}' smartvm prune`);
    await host.networker({}, { runtimeDir: true }).call({ call: 'prune' });
    expect(host.state()).toBe(before);

    const withoutRecords = encodeURIComponent(host.scratch.file("other's #run")).replaceAll('%2F', '/');
    host.leave('svold', withoutRecords);
    await program.attach('one');
    await program.call({ call: 'release', id: 'one' });
    host.run('ip', 'link', 'delete', 'svold');
    expect(host.state()).toBe(before);
    host.leave('svbr0', withoutRecords);
    await expect(program.attach('one')).rejects.toMatchObject({
      code: 'INTERFACE_TAKEN',
      message: expect.stringContaining('ip link delete svbr0'),
    });
  });

  test('rules that are flushed are made again beside what another runtime directory has left', async () => {
    const program = host.networker();
    const one = await program.attach('one');
    const rules = host.run('nft', 'list', 'ruleset');
    host.leave('svold', host.scratch.file('gone'));
    host.run('nft', 'flush', 'ruleset');
    await program.call({ call: 'inspect', name: 'default' });
    expect(host.run('nft', 'list', 'ruleset')).toBe(rules);
    host.run('nft', 'flush', 'ruleset');
    const two = await program.attach('two');
    for (const { tapName, mac, ipv4 } of [one, two]) {
      expect(host.run('nft', 'list', 'ruleset')).toContain(`"${tapName}" . ${mac} . ${ipv4}`);
    }
  });

  test('who is refused a network because others came at the same moment has changed no setting', async () => {
    const folder = host.scratch.file('bin');
    const ip = pathOf('ip');
    // When the first links of the network are there, so are those of others.
    const lines = [
      `${ip} link show svold >/dev/null 2>&1 || {`,
      `  ${ip} link add svold type bridge; ${ip} link set svold alias smartvm:svold:${host.scratch.file('gone')}; }`,
    ];
    await mkdir(folder);
    const script = [
      '#!/bin/sh',
      `case "$*" in *-batch*) ${ip} "$@" || exit;`,
      ...lines,
      `;; *) exec ${ip} "$@";; esac`,
    ];
    await writeFile(join(folder, 'ip'), script.join('\n'), { mode: 0o755 });
    host.run('sysctl', '-qw', 'net.ipv4.ip_forward=0');
    before = host.state();
    const program = host.networker({}, { before: folder });
    await expect(program.attach('one')).rejects.toMatchObject({ code: 'NETWORKS_ELSEWHERE' });
    host.run('ip', 'link', 'delete', 'svold');
    expect(host.state()).toBe(before);
  });

  test('of programs of two runtime directories that come at once, one at most has a network, and it whole', async () => {
    for (let round = 0; round < 3; round++) {
      const programs = [host.networker(), host.networker({}, { runtimeDir: true })];
      const ids = ['one', 'two'];
      const came = await Promise.allSettled(programs.map((program, index) => program.attach(ids[index] ?? '')));
      const [won, ...more] = came.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
      const refusals = came.flatMap((result) => (result.status === 'rejected' ? [result.reason.code] : []));
      expect([more, refusals.filter((code) => !/^(NETWORKS_ELSEWHERE|INTERFACE_TAKEN)$/.test(code))]).toEqual([[], []]);
      if (won) {
        expect(host.links()).toEqual(['svbr0', won.tapName]);
        expect(host.run('nft', 'list', 'ruleset')).toContain(`"${won.tapName}" . ${won.mac} . ${won.ipv4}`);
      }
      await Promise.allSettled(
        programs.map((program, index) => program.call({ call: 'release', id: ids[index] ?? '' })),
      );
      expect(host.state()).toBe(before);
    }
  });

  test('an interface to leave by that is not there: INTERFACE_GONE, and nothing is left', async () => {
    const program = host.networker();
    await program.call({ call: 'create', options: { name: 'far', via: 'wg0' } });
    await expect(program.attach('one', { network: 'far' })).rejects.toMatchObject({ code: 'INTERFACE_GONE' });
    expect([await host.leases(), host.state()]).toEqual([[], before]);
  });

  test('a network leaves by its interface, until the last VM of it has gone', async () => {
    host.run('ip', 'link', 'add', 'wg0', 'type', 'bridge');
    host.run('ip', 'address', 'add', '10.66.0.2/24', 'dev', 'wg0');
    host.run('ip', 'link', 'set', 'wg0', 'up');
    before = host.state();
    const program = host.networker();
    const { bridge } = (await program.call({ call: 'create', options: { name: 'far', via: 'wg0' } })) as {
      bridge: string;
    };
    await program.attach('one', { network: 'far' });
    const table = /iif \S+ lookup (\d+)/.exec(host.run('ip', 'rule'))?.[1] ?? '';
    const routes = () => host.run('ip', 'route', 'show', 'table', table);
    expect(host.run('ip', 'rule')).toContain(`iif ${bridge} lookup ${table}`);
    expect(routes()).toMatch(/default dev wg0[\s\S]*unreachable default/);
    expect(host.run('ip', '-6', 'rule')).toContain(`iif ${bridge} lookup ${table}`);
    host.run('ip', 'link', 'set', 'wg0', 'down');
    expect(routes()).not.toContain('wg0');
    host.run('ip', 'link', 'set', 'wg0', 'up');
    await program.call({ call: 'inspect', name: 'far' });
    expect(routes()).toContain('default dev wg0');
    await program.call({ call: 'release', id: 'one' });
    expect(host.state()).toBe(before);
  });

  test('a bridge that somebody removed is made again by the next VM, with the ports that it had', async () => {
    const program = host.networker();
    const one = await program.attach('one');
    host.run('ip', 'link', 'delete', 'svbr0');
    const two = await program.attach('two');
    const ports = host.run('ip', 'link', 'show', 'master', 'svbr0');
    expect(ports).toContain(one.tapName);
    expect(ports).toContain(two.tapName);
    expect(host.run('ip', '-details', 'link', 'show', one.tapName)).toContain('isolated on');
  });

  test('who inspects a network repairs it, and learns which interfaces have gone', async () => {
    const program = host.networker();
    const one = await program.attach('one');
    const two = await program.attach('two');
    const rules = host.run('nft', 'list', 'ruleset');
    host.run('nft', 'flush', 'ruleset');
    host.run('ip', 'link', 'delete', one.tapName);
    expect(await program.call({ call: 'inspect', name: 'default' })).toMatchObject({ missing: [one.tapName] });
    expect(host.run('nft', 'list', 'ruleset')).toBe(rules);
    expect(host.links()).toEqual(['svbr0', two.tapName]);
    await program.call({ call: 'release', id: 'one' });
    await program.call({ call: 'release', id: 'two' });
    expect(host.state()).toBe(before);
  });

  test("another's tables, chains that drop what is forwarded among them, are never touched", async () => {
    host.run('nft', 'add', 'table', 'ip', 'filter');
    host.run('nft', 'add', 'chain', 'ip', 'filter', 'FORWARD', '{ type filter hook forward priority 0; policy drop; }');
    host.run('nft', 'add', 'table', 'inet', 'smartvm_other');
    before = host.state();
    const program = host.networker();
    await program.attach('one');
    await program.call({ call: 'release', id: 'one' });
    expect(host.state()).toBe(before);
  });

  test('a program that is killed over a change of a policy holds up nobody', async () => {
    const program = host.networker();
    await program.attach('one');
    const other = host.networker();
    const change = (egress: 'none' | 'internet') => program.call({ call: 'change', id: 'one', change: { egress } });
    await Promise.all([change('none'), change('internet'), change('none')]);
    void change('internet').catch(() => undefined);
    await program.kill();
    await other.attach('two');
    await other.call({ call: 'reconcile' });
    await other.call({ call: 'release', id: 'two' });
    expect(host.state()).toBe(before);
  });

  test.each([
    ['default', 0],
    ['apart', 1],
  ])(
    'a program that is killed before any change that it makes of the network %s leaves nothing that others do not undo',
    async (network, first) => {
      const next = host.networker();
      await next.call({ call: 'create', options: { name: 'apart', mode: 'netns' } });
      const mine = await next.attach('one', { network });
      await next.call({ call: 'release', id: 'one' });
      let hasSurvived = false;
      for (let change = first % CHANGES_APART; !hasSurvived; change += CHANGES_APART) {
        const program = host.networker();
        await program.call({ call: 'dieAt', change });
        hasSurvived = await program.survives(async () => {
          await program.attach('one', { network });
          await program.call({ call: 'release', id: 'one' });
        });
        await program.kill();
        await host.toolsEnded();
        await next.call({ call: 'prune' });
        expect([change, host.state(), await host.leases()]).toEqual([change, before, []]);
        expect([change, await next.attach('one', { network })]).toEqual([change, mine]);
        await next.call({ call: 'release', id: 'one' });
      }
    },
  );
});
