// `npm run bench:boot`: what SmartVM adds to a bare QEMU and OpenSSH, and its command line to a bare Node.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { SmartVM } from '../ts/smartvm.js';
import { PACKAGE_ROOT } from '../ts/util/package-root.js';
import { captureMachine, timeBareBoot } from './bare-qemu.js';
import { print } from './statistics.js';

const BOOTS = 10;
const VERSION_RUNS = 20;

const inPackage = (path: string) => join(PACKAGE_ROOT, path);

function timeNode(...args: string[]): number {
  const started = performance.now();
  execFileSync(process.execPath, args, { stdio: 'ignore' });
  return performance.now() - started;
}

function launchOnce(): number {
  return Number(execFileSync(process.execPath, [inPackage('bench/launch-once.mjs')], { encoding: 'utf8' }));
}

async function inScratch<T>(work: (directory: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), 'smartvm-bench-'));
  const remove = () => rmSync(directory, { recursive: true, force: true });
  process.once('exit', remove);
  try {
    return await work(directory);
  } finally {
    process.off('exit', remove);
    remove();
  }
}

/** One of each, turn by turn, so that what else the machine does hits both alike. The first pair only warms caches. */
async function compare(runs: number, ours: () => Promise<number>, baseline: () => Promise<number>) {
  const times: { ours: number[]; baseline: number[] } = { ours: [], baseline: [] };
  for (let run = 0; run <= runs; run++) {
    const pair = { ours: await ours(), baseline: await baseline() };
    if (run > 0) {
      times.ours.push(pair.ours);
      times.baseline.push(pair.baseline);
    }
  }
  return times;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => process.exit(128 + constants.signals[signal]));
}

const version = await compare(
  VERSION_RUNS,
  async () => timeNode(inPackage('bin/smartvm'), '--version'),
  async () => timeNode('-e', '0'),
);
print({ name: 'smartvm --version', ours: version.ours, baseline: { name: 'node -e 0', times: version.baseline } });

const boots = await inScratch(async (runtimeDir) => {
  await using smartvm = new SmartVM({ runtimeDir, vmm: 'qemu' });
  const machine = await captureMachine(smartvm, runtimeDir);
  return await compare(
    BOOTS,
    async () => launchOnce(),
    () => inScratch((directory) => timeBareBoot(machine, directory)),
  );
});
print({ name: 'launch and exec', ours: boots.ours, baseline: { name: 'bare QEMU and ssh', times: boots.baseline } });
