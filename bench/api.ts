// `npm run bench:api`: what SmartVM adds to a bare node:http and to a Firecracker driven by hand. Needs a KVM for the toy
// guest, and SMARTVM_FIRECRACKER; without, the requests alone are measured, on smartvm-qemu.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { SmartVM } from '../ts/smartvm.js';
import { PACKAGE_ROOT } from '../ts/util/package-root.js';
import type { MicroVM } from '../ts/vm/micro-vm.js';
import { BareClient, bootByHand } from './firecracker-by-hand.js';

const REQUESTS = 3_000;
const BOOTS = 30;
/** What a jail may cost a start. */
const JAIL_MS = 10;
const VMS = 200;
const AT_ONCE = 20;

const scratch = mkdtempSync(join(tmpdir(), 'smartvm-bench-'));
process.once('exit', () => {
  for (const folder of [scratch, runtimeDir]) {
    rmSync(folder, { recursive: true, force: true });
  }
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => process.exit(128 + constants.signals[signal]));
}

const kernel = join(scratch, 'toy');
const drive = join(scratch, 'drive');
const source = join(PACKAGE_ROOT, 'test/fixtures/toy-guest.S');
execFileSync('gcc', [
  '-nostdlib',
  '-static',
  '-no-pie',
  '-Wl,-Ttext=0x1000000',
  '-Wl,--build-id=none',
  '-o',
  kernel,
  source,
]);
writeFileSync(drive, '');
truncateSync(drive, 1024 * 1024);
// As /run is, where VMs have their directories by default: on a disk, each record would wait for it.
const runtimeDir = mkdtempSync('/dev/shm/smartvm-bench-');

async function timeOf(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

function median(times: readonly number[]): number {
  return [...times].sort((a, b) => a - b)[Math.floor(times.length / 2)] ?? Number.NaN;
}

function print(what: string, ours: number, baseline: number, target: number): void {
  const ratio = ours / baseline;
  const verdict = ratio <= target ? 'met' : 'MISSED';
  console.log(
    `${what}: ${ours.toFixed(3)} ms against ${baseline.toFixed(3)} ms: ${ratio.toFixed(2)} x, target ${target} x ${verdict}`,
  );
}

const executable = process.env.SMARTVM_FIRECRACKER ?? join(PACKAGE_ROOT, 'bin/smartvm-qemu');
const canJail = process.getuid?.() === 0 && existsSync(join(dirname(executable), 'jailer'));
const options = { runtimeDir, firecrackerBinaryPath: executable };
await using unjailed = new SmartVM({ ...options, jail: false });
await using jailed = new SmartVM({ ...options, jail: canJail });

async function boot(smartvm = unjailed): Promise<MicroVM> {
  const vm = await smartvm.createVM({
    bootSource: { kernelImagePath: kernel },
    machineConfig: { memSizeMib: 32 },
    drives: [{ driveId: 'd', pathOnHost: drive, isReadOnly: true }],
  });
  await vm.start();
  return vm;
}

async function benchRequests(): Promise<void> {
  const vm = await boot();
  const bare = new BareClient(vm.socketPath);
  const [ours, baseline]: number[][] = [[], []];
  for (let index = 0; index < REQUESTS; index++) {
    // Turn by turn, so that what else the machine does hits both alike.
    ours?.push(await timeOf(() => vm.api.describeInstance()));
    baseline?.push(await timeOf(() => bare.call('GET', '/')));
  }
  bare.close();
  await vm.cleanup();
  const half = REQUESTS / 2; // the first half warms both up
  print('GET / p50, against node:http', median(ours?.slice(half) ?? []), median(baseline?.slice(half) ?? []), 1.0);
}

async function benchBoots(): Promise<number> {
  const [ours, baseline]: number[][] = [[], []];
  for (let index = 0; index <= BOOTS; index++) {
    const begin = performance.now();
    const vm = await boot();
    const took = performance.now() - begin;
    await vm.cleanup();
    const socketPath = join(scratch, `by-hand-${index}.sock`);
    const bare = await bootByHand(executable, socketPath, kernel, drive);
    await bare.end();
    if (index > 0) {
      ours?.push(took);
      baseline?.push(bare.ms);
    }
  }
  print('create and start p50, against by hand', median(ours ?? []), median(baseline ?? []), 1.3);
  return median(ours ?? []);
}

async function benchJail(): Promise<void> {
  const [plain, walled]: number[][] = [[], []];
  for (let index = 0; index <= BOOTS; index++) {
    for (const [times, smartvm] of [
      [plain, unjailed],
      [walled, jailed],
    ] as const) {
      const begin = performance.now();
      const vm = await boot(smartvm);
      times?.push(performance.now() - begin);
      await vm.cleanup();
    }
  }
  const [without, within] = [median(plain?.slice(1) ?? []), median(walled?.slice(1) ?? [])];
  const verdict = within - without <= JAIL_MS ? 'met' : 'MISSED';
  console.log(
    `jailed create and start p50: ${(within - without).toFixed(1)} ms more than ${without.toFixed(1)} ms, target ${JAIL_MS} ms ${verdict}`,
  );
}

async function benchMany(alone: number): Promise<void> {
  let left = VMS;
  const worker = async () => {
    while (left > 0) {
      left -= 1;
      await (await boot()).cleanup();
    }
  };
  const all = await timeOf(() => Promise.all(Array.from({ length: AT_ONCE }, worker)));
  print(`each of ${VMS}, ${AT_ONCE} at a time, against one alone`, all / VMS, alone, 1.3);
}

await benchRequests();
const alone = await benchBoots();
if (canJail) {
  await benchJail();
}
await benchMany(alone);
