import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { NetworkAttachment } from '../../ts/config/network.js';
import { processesNaming, until } from '../support/leftovers.js';
import { NetworkHost } from '../support/network-host.js';
import { VMMS } from '../support/toy-vm.js';
import { VmHost, type VmProgram } from '../support/vm-program.js';

const isRoot = process.getuid?.() === 0;

/** That no two have the same of anything. */
function expectUnique(attachments: readonly NetworkAttachment[]): void {
  for (const what of ['ipv4', 'ipv6', 'mac', 'tapName'] as const) {
    const values = attachments.map((one) => one[what]).toSorted();
    expect([what, [...new Set(values)]]).toEqual([what, values]);
  }
}

const links = (attachments: readonly NetworkAttachment[]) =>
  ['svbr0', ...attachments.map(({ tapName }) => tapName)].toSorted();

describe.runIf(isRoot)('places in one network that programs take at once', { timeout: 300_000 }, () => {
  let host: NetworkHost;
  let before: string;

  beforeEach(async () => {
    host = await NetworkHost.open();
    before = host.state();
  });
  afterEach(async () => {
    await host[Symbol.asyncDispose]();
  });

  test('50 each: nothing twice, also when one is killed over it and others take what it had', async () => {
    const [killed, spared] = [host.networker(), host.networker()];
    const take = (program: typeof killed, name: string, count: number) =>
      Promise.all(Array.from({ length: count }, (_none, index) => program.attach(`${name}-${index}`)));
    const [some, others] = await Promise.all([take(killed, 'a', 50), take(spared, 'b', 50)]);
    expectUnique([...some, ...others]);
    expect(host.links().toSorted()).toEqual(links([...some, ...others]));

    await killed.kill();
    const next = host.networker();
    const [again, more] = await Promise.all([take(next, 'a', 20), take(spared, 'c', 20)]);
    const all = [...others, ...again, ...more];
    expectUnique(all);
    await next.call({ call: 'reconcile' });
    expect(host.links().toSorted()).toEqual(links(all));

    await Promise.all([next.kill(), spared.kill()]);
    await host.networker().call({ call: 'reconcile' });
    expect(host.state()).toBe(before);
  });
});

// What one QEMU takes of a machine, ten Firecrackers do.
describe.runIf(isRoot).each(VMMS)('$name: VMs of two programs on one bridge', { timeout: 1_200_000 }, (vmm) => {
  const count = vmm.name === 'Firecracker' ? Number(process.env.SMARTVM_TEST_VMS ?? 15) : 3;
  let host: VmHost;
  let before: string;

  beforeEach(async () => {
    host = await VmHost.open(vmm);
    before = host.net.state();
  });
  afterEach(async () => {
    await host[Symbol.asyncDispose]();
  });

  /** So many at a time as the machine bears. */
  async function start(program: VmProgram, name: string): Promise<NetworkAttachment[]> {
    const ids = Array.from({ length: count }, (_none, index) => `${name}-${index}`);
    const started: NetworkAttachment[] = [];
    const worker = async () => {
      for (let id = ids.pop(); id; id = ids.pop()) {
        const { interfaces } = await program.call('start', host.toy(id), { networks: [{}] });
        started.push(interfaces[0]?.attachment as NetworkAttachment);
      }
    };
    await Promise.all([worker(), worker()]);
    return started;
  }

  const isAlive = async (name: string) =>
    (await processesNaming(host.runtimeDir)).some((line) => line.includes(`/run/${name}-`));

  test(`${count} each: no address, MAC or TAP twice; of the one that is killed, all is undone`, async () => {
    const [killed, spared] = [host.program(), host.program()];
    const [some, others] = await Promise.all([start(killed, 'a'), start(spared, 'b')]);
    expectUnique([...some, ...others]);
    expect(host.net.links().toSorted()).toEqual(links([...some, ...others]));

    await killed.kill();
    await until(async () => !(await isAlive('a')), 60_000, 'the end of its VMs');
    await spared.call('prune');
    expect(host.net.links().toSorted()).toEqual(links(others));
    const rules = host.net.run('nft', 'list', 'ruleset');
    expect(some.filter(({ tapName, ipv4 }) => rules.includes(tapName) || rules.includes(`${ipv4} `))).toEqual([]);
    const addresses = (await host.holdings()).filter((name) => name.startsWith('ip-'));
    expect(addresses.toSorted()).toEqual(others.flatMap(({ ipv4, ipv6 }) => [`ip-${ipv4}`, `ip-${ipv6}`]).toSorted());

    await spared.call('end');
    expect([host.net.state(), await host.holdings()]).toEqual([before, []]);
  });
});
