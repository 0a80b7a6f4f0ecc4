// `npm run bench:ps`: what `smartvm ps` takes with a hundred VMs, against `smartvm --version`. With SMARTVM_FIRECRACKER they are
// toy guests; without, their records alone, which is all that `ps` looks at beside /proc.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { compileToyGuest } from '../test/support/toy-guest.js';
import { SmartVM } from '../ts/smartvm.js';
import { PACKAGE_ROOT } from '../ts/util/package-root.js';
import { currentProcess } from '../ts/util/process-identity.js';
import { RECORD_VERSION, renderRecord } from '../ts/vmm/registry/record.js';
import { percentile, print } from './statistics.js';

const VMS = 100;
const ROUNDS = 40;
const TARGET = 1.3;

// As /run is, where VMs have their directories by default.
const runtimeDir = mkdtempSync('/dev/shm/smartvm-bench-');
process.once('exit', () => rmSync(runtimeDir, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => process.exit(128 + constants.signals[signal]));
}

async function plantRecords(): Promise<void> {
  const owner = currentProcess();
  const now = new Date().toISOString();
  for (let index = 0; index < VMS; index++) {
    const id = `vm-${index}`;
    const folder = join(runtimeDir, id);
    mkdirSync(folder);
    const record = renderRecord({
      ...{
        version: RECORD_VERSION,
        id,
        name: `web-${index}`,
        labels: { tier: 'web' },
        image: 'debian',
        createdAt: now,
      },
      ...{ owner, detached: true, vmm: { kind: 'firecracker', path: '/usr/bin/firecracker' }, restored: false },
      socketPath: join(folder, 'vmm/api.sock'),
      config: {
        bootSource: { kernelImagePath: '/images/vmlinux', initrdPath: join(folder, 'vmm/initramfs.cpio') },
        machineConfig: { vcpuCount: 1, memSizeMib: 256 },
        drives: ['rootfs', 'overlay'].map((driveId) => ({ driveId, pathOnHost: `/${driveId}`, isRootDevice: false })),
        vsock: { guestCid: 3, udsPath: join(folder, 'vmm/vsock.sock') },
      },
      journal: { taps: [], sockets: [] },
      processes: { keeper: owner, vmm: owner },
    });
    writeFileSync(join(folder, 'vm.json'), record);
    writeFileSync(join(folder, 'state.json'), JSON.stringify({ state: 'running', changedAt: now, startedAt: now }));
  }
}

async function bootGuests(smartvm: SmartVM): Promise<void> {
  const kernelImagePath = join(runtimeDir, '.toy');
  await compileToyGuest(kernelImagePath);
  for (let index = 0; index < VMS; index++) {
    const config = { id: `vm-${index}`, bootSource: { kernelImagePath }, machineConfig: { memSizeMib: 32 } };
    await (await smartvm.createVM(config, { name: `web-${index}` })).start();
  }
}

function timeOf(...args: string[]): number {
  const begin = performance.now();
  const { stdout, status } = spawnSync(process.execPath, [join(PACKAGE_ROOT, 'bin/smartvm'), ...args], {
    env: { ...process.env, SMARTVM_RUNTIME_DIR: runtimeDir },
    encoding: 'utf8',
  });
  const took = performance.now() - begin;
  const lines = stdout.split('\n').length - 1;
  if (status !== 0 || (args[0] === 'ps' && lines !== VMS + 1)) {
    throw new Error(`smartvm ${args.join(' ')} ended with ${status} and ${lines} lines`);
  }
  return took;
}

const executable = process.env.SMARTVM_FIRECRACKER;
await using smartvm = new SmartVM({
  ...{ runtimeDir, jail: false, capacity: false },
  ...(executable ? { firecrackerBinaryPath: executable } : {}),
});
await (executable ? bootGuests(smartvm) : plantRecords());
const [ours, baseline]: [number[], number[]] = [[], []];
for (let round = 0; round <= ROUNDS; round++) {
  // Turn by turn, so that what else the machine does hits both alike; the first round fills the caches.
  const pair = [timeOf('--version'), timeOf('ps', '-a')] as const; // the last may be starting still
  if (round > 0) {
    baseline.push(pair[0]);
    ours.push(pair[1]);
  }
}
print({ name: `ps with ${VMS} VMs`, ours, baseline: { name: '--version', times: baseline } });
const ratio = percentile(ours, 50) / percentile(baseline, 50);
console.log(`target ${TARGET} x ${ratio <= TARGET ? 'met' : 'MISSED'}`);
