import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GuestLab, METADATA, OUTSIDE, THROUGH_NAT, WEB } from '../support/guest-lab.js';

const DNS = [WEB.ipv4];
const PORT = 8000;
/** A web server, which goes on when the command that starts it has ended. */
const SERVE = `setsid -f perl -MIO::Socket::IP -e '
  $server = IO::Socket::IP->new(LocalPort => ${PORT}, Listen => 5, ReuseAddr => 1) or die;
  while ($client = $server->accept) { sysread $client, $request, 4096; print $client "HTTP/1.0 200 OK\\r\\n\\r\\nhello from guest"; close $client }
  ' >/dev/null 2>&1 </dev/null
until (exec 3<>/dev/tcp/127.0.0.1/${PORT}); do sleep 0.1; done 2>/dev/null`;

/** What a guest has by its own account, and the host by its. */
interface Twin {
  readonly id: string;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly wire: string;
}

describe.skipIf(process.getuid?.() !== 0)('guests out of a snapshot', { timeout: 120_000 }, () => {
  let lab: GuestLab;
  let before: unknown;
  let last: Twin;

  const twinOf = async (id: string): Promise<Twin> => {
    const { addresses } = await lab.call('networkOf', id);
    const [wire = ''] = await lab.call('wires', id);
    return { id, ipv4: addresses[0] ?? '', ipv6: addresses[1] ?? '', wire };
  };
  /** In place of the one before. */
  const clone = async (id: string, network: string, paused = false): Promise<[Twin, Twin]> => {
    const twin = last;
    await lab.call('clone', twin.id, id, [{ network, dns: DNS }], paused);
    last = await twinOf(id);
    return [last, twin];
  };
  const seenBy = async ({ id }: Twin) => await lab.sh(id, 'hostname; ip -o addr; cat /etc/hosts');

  beforeAll(async () => {
    lab = await GuestLab.open();
    before = await lab.traces();
    await lab.call('createNetwork', { name: 'apart', mode: 'netns' });
    const options = { startTimeoutMs: 300_000, id: 'one', publish: [`8080:${PORT}`] };
    await lab.call('boot', { ...options, networks: [{ dns: DNS }] });
    await lab.sh('one', SERVE);
    last = await twinOf('one');
  }, 650_000);

  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]();
  });

  it.each([
    ['its own program', 'second', (id: string) => lab.call('resume', id)],
    ['another program', 'third', (id: string) => lab.smartvm('resume', id)],
  ])('that start paused have addresses and a name of their own once %s resumes them', async (_who, id, resume) => {
    const [own, twin] = await clone(id, 'default', true);
    await resume(id);
    const seen = await seenBy(own);
    expect(seen).toMatch(new RegExp(`^${id}\n`));
    for (const address of [`${own.ipv4}/24`, `${own.ipv6}/64`, `${own.ipv4}\t${id}`]) {
      expect(seen).toContain(address);
    }
    expect([twin.ipv4, twin.ipv6].filter((address) => seen.includes(address))).toEqual([]);
    expect(await lab.webs(id, WEB)).toEqual(THROUGH_NAT);
  });

  it('in namespaces keep their addresses, get their names from whoever resumes them, and are told apart by the host', async () => {
    const [inner] = await clone('inner', 'apart');
    expect(await seenBy(inner)).toContain(`${inner.ipv4}/30`);
    expect(await lab.webs('inner', WEB)).toEqual(THROUGH_NAT);

    const [moved] = await clone('moved', 'apart', true);
    await lab.smartvm('resume', 'moved');
    expect([moved.ipv4, moved.ipv6]).toEqual([inner.ipv4, inner.ipv6]);
    expect(moved.wire).not.toBe(inner.wire);
    expect(await seenBy(moved)).toMatch(/^moved\n/);
    expect(await lab.webs('moved', WEB)).toEqual(THROUGH_NAT);
    expect(await lab.web('moved', METADATA)).toBe('refused');
    await lab.call('publish', 'moved', [`8081:${PORT}`]);
    expect(await lab.dial('client', `http://${OUTSIDE.ipv4}:8081/`)).toBe('hello from guest');
    expect(await lab.dial('host', `http://127.0.0.1:8081/`)).toBe('hello from guest');
    await lab.call('setEgress', 'moved', 'none');
    expect(await lab.webs('moved', WEB)).toEqual(['refused', 'refused']);
  });

  it('leave the network of the host as it was', async () => {
    await lab.smartvm('kill', last.id); // it is detached
    await lab.call('end');
    expect(await lab.traces()).toEqual(before);
  });
});
