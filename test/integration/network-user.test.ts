import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GuestLab, METADATA, THROUGH_NAT, WEB } from '../support/guest-lab.js';

describe.skipIf(process.getuid?.() !== 0)('guests for whom their VMM speaks', { timeout: 120_000 }, () => {
  let lab: GuestLab;
  let before: unknown;

  beforeAll(async () => {
    lab = await GuestLab.open();
    before = await lab.traces();
    await lab.call('launch', { id: 'open', startTimeoutMs: 300_000, network: 'user', dns: [WEB.ipv4] });
  }, 650_000);
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]();
  });

  it('reach what the host reaches, by name too, and nothing of it is made on the host', async () => {
    expect(await lab.traces()).toEqual(before);
    expect(await lab.silence('open', [], [WEB.ipv4, WEB.ipv6, METADATA])).toEqual([...THROUGH_NAT, THROUGH_NAT[0]]);
    const found = await lab.sh('open', 'hostname; ip -o addr show dev eth0; getent ahostsv4 web.test | head -1');
    expect(found).toMatch(/^open\n/);
    expect(found).toContain(' 10.0.2.15/24 ');
    expect(found).toContain(`${WEB.ipv4} `);
  });

  it("reach nothing where their egress is 'none'", async () => {
    await lab.call('launch', { id: 'closed', startTimeoutMs: 300_000, network: 'user', egress: 'none' });
    expect(await lab.webs('open', WEB)).toEqual(THROUGH_NAT); // which is as slow
    const said = await lab.silence('closed', [WEB.ipv4, WEB.ipv6, METADATA, '10.0.2.2']);
    expect(said.join()).not.toContain('hello');
    expect(await lab.sh('closed', 'ip -o addr show dev eth0')).toContain(' 10.0.2.15/24 ');
  });

  it('leave the host as it was', async () => {
    await lab.call('end');
    expect(await lab.traces()).toEqual(before);
  });
});
