// `npm run bench:network`, as root: what a place in a network costs. To attach an interface (TAP, bridge, rules) against the same
// commands of ip(8) and nft(8) by hand; how that grows up to 200 of them; and what the rules cost a guest's TCP, on smartvm-qemu, against
// the same TAP without bridge and rules. All of it is in a network namespace of its own.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Networks } from '../ts/network/networks.js';
import { runIp } from '../ts/network/plumbing/ip.js';
import { tapUp } from '../ts/network/plumbing/lines.js';
import { nftInput } from '../ts/network/policy/nft.js';
import { attachElements } from '../ts/network/policy/ruleset.js';
import { SmartVM } from '../ts/smartvm.js';
import { isAlive } from '../ts/util/process-identity.js';
import { run } from '../ts/util/run.js';
import { percentile, print } from './statistics.js';

const ATTACHMENTS = 200;
const ROUNDS = 30;
/** How many of the first and of the last are compared. */
const ENDS = 20;
const MEBIBYTES = 256;
const TRANSFERS = 5;
const GATEWAY = '172.30.0.1';
const network = { bridge: 'svbr0', owned: true, isolated: true, ipv4: '172.30.0.0/24' };

/** /sys shows the namespace in which it was mounted. */
const ENTER = 'ip link set lo up; mount -t sysfs sysfs /sys; exec "$@"';

function enterNamespace(): never {
  const runtimeDir = mkdtempSync('/dev/shm/smartvm-bench-'); // as /run is
  const self = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const { status } = spawnSync('unshare', ['--mount', '--net', 'sh', '-ec', ENTER, 'sh', ...self], {
    stdio: 'inherit',
    env: { ...process.env, SMARTVM_RUNTIME_DIR: runtimeDir },
  });
  rmSync(runtimeDir, { recursive: true, force: true });
  process.exit(status ?? 1);
}

async function timed(act: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await act();
  return performance.now() - begin;
}

/** What ip(8) and nft(8) take for one interface, side by side. */
async function byHand(index: number): Promise<void> {
  const wire = {
    ...{ tapName: `hand${index}`, mac: '02:00:00:00:00:fe', ipv4: '172.30.0.254', dns: [], mtu: 1500 },
    ...{ network: 'hand', ifaceId: 'eth0', prefixes: {}, gateways: {} },
  };
  const attachment = { network, port: wire.tapName, mac: wire.mac, ipv4: wire.ipv4, dns: wire.dns };
  await Promise.all([
    runIp(tapUp(wire, { bridge: network.bridge, isolated: true, multiQueue: false })),
    run('nft', ['-f', '-'], { input: nftInput(attachElements(attachment, 'internet')) }),
  ]);
}

async function attachments(): Promise<void> {
  const dataDir = join(process.env.SMARTVM_RUNTIME_DIR ?? '', 'data');
  const networks = new Networks({
    dataDir,
    bridge: network.bridge,
    ipv4: network.ipv4,
    isHeld: ({ owner }) => isAlive(owner),
  });
  const attach = async (id: string) => {
    const connection = await networks.connect({ id, runtimeDir: `/nonexistent/${id}` }, [{}]);
    await connection.plumb();
    return connection;
  };
  const connections = [await attach('first')];
  const [ours, hand]: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(await timed(async () => connections.push(await attach(`round-${round}`))));
    hand.push(await timed(() => byHand(round)));
    await run('ip', ['link', 'delete', `hand${round}`]);
  }
  print({ name: 'attach', ours, baseline: { name: 'ip and nft by hand', times: hand } });
  const times: number[] = [];
  for (let index = connections.length; index < ATTACHMENTS; index++) {
    times.push(await timed(async () => connections.push(await attach(`vm-${index}`))));
  }
  const [first, last] = [[...ours.slice(0, ENDS)], times.slice(-ENDS)];
  print({ name: `attach, of ${ATTACHMENTS}`, ours: last, baseline: { name: 'attach, the first', times: first } });
  for (const connection of connections) {
    await connection.release();
  }
}

/** MiB/s from a guest to a port of the host. */
async function transfer(vm: Awaited<ReturnType<SmartVM['launch']>>): Promise<number> {
  const server = createServer((socket) => socket.resume()).listen(9000, '0.0.0.0');
  try {
    // The gateway has another MAC each time.
    const send = `ip neigh flush dev eth0; dd if=/dev/zero bs=1M count=${MEBIBYTES} status=none > /dev/tcp/${GATEWAY}/9000`;
    const seconds = (await timed(() => vm.exec(['bash', '-ec', send]))) / 1000;
    return MEBIBYTES / seconds;
  } finally {
    server.close();
  }
}

async function throughput(): Promise<void> {
  await using smartvm = new SmartVM({ vmm: 'qemu', jail: { cgroups: 'none' } });
  const vm = await smartvm.launch({ egress: [{ action: 'allow', to: 'host' }], startTimeoutMs: 300_000 });
  const [own] = await vm.network.interfaces();
  const tap = own?.attachment.tapName ?? '';
  const [ours, hand]: [number[], number[]] = [[], []];
  for (let round = 0; round < TRANSFERS; round++) {
    ours.push(await transfer(vm));
    await run('nft', ['flush', 'ruleset']);
    await runIp([
      `link set dev ${tap} nomaster`,
      `addr del ${GATEWAY}/24 dev ${network.bridge}`,
      `addr add ${GATEWAY}/24 dev ${tap}`,
    ]);
    hand.push(await transfer(vm));
    await runIp([`addr del ${GATEWAY}/24 dev ${tap}`]);
    await smartvm.networks.reconcile();
  }
  const [mine, theirs] = [percentile(ours, 50), percentile(hand, 50)];
  console.log(`TCP guest to host  in a network ${mine.toFixed(0)} MiB/s, by a TAP alone ${theirs.toFixed(0)} MiB/s`);
  console.log(`ratio  ${(mine / theirs).toFixed(2)}`);
}

if (process.env.SMARTVM_RUNTIME_DIR?.startsWith('/dev/shm/smartvm-bench-')) {
  await attachments();
  await throughput();
} else {
  enterNamespace();
}
