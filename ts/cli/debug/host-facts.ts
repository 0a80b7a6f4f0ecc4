import { readFileSync } from 'node:fs';
import { readFile, statfs } from 'node:fs/promises';
import os from 'node:os';
import { join } from 'node:path';
import { defaultDataDir } from '../../config/directories.js';
import { PACKAGE_ROOT } from '../../util/package-root.js';
import { run } from '../../util/run.js';
import { qemuProgram } from '../../vmm/find.js';
import { kvmProblem } from '../../vmm/host.js';
import { versionOfExecutable } from '../../vmm/version.js';
import type { Subject } from './subject.js';

const MAX_OUTPUT_BYTES = 65_536;

/** The versions of all that takes part in a VM. What cannot be asked says why. */
export async function versions({ record }: Subject, signal: AbortSignal): Promise<unknown> {
  const words = (error: Error) => `unknown: ${error.message}`;
  const { program } = qemuProgram();
  const [vmm, qemu] = await Promise.all([
    record && versionOfExecutable(record.vmm.path, signal).catch(words),
    run(program, ['--version'], { signal, maxOutputBytes: MAX_OUTPUT_BYTES }).then(
      (output) => output.toString().split('\n')[0],
      words,
    ),
  ]);
  const { version: smartvm } = JSON.parse(readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8'));
  return { smartvm, node: process.version, kernel: os.release(), vmm: { ...record?.vmm, version: vmm }, qemu };
}

/** What kind of machine this is, how much it has, and how much of that is left. */
export async function hostFacts({ runtimeRoot }: Subject): Promise<unknown> {
  const read = async (path: string) => (await readFile(path, 'utf8').catch(() => '')).trim();
  const [release, cpu, memory, io, kvm] = await Promise.all([
    read('/etc/os-release'),
    ...['cpu', 'memory', 'io'].map((kind) => read(`/proc/pressure/${kind}`)),
    kvmProblem(),
  ]);
  const cpus = os.cpus();
  return {
    system: /^PRETTY_NAME="?([^"\n]*)/m.exec(release ?? '')?.[1],
    kernel: `${os.type()} ${os.release()} ${os.version()}`,
    arch: os.arch(),
    uptimeSeconds: os.uptime(),
    uid: process.getuid?.(),
    cpus: { count: cpus.length, model: cpus[0]?.model, load: os.loadavg() },
    memory: { totalBytes: os.totalmem(), freeBytes: os.freemem() },
    pressure: { cpu, memory, io },
    kvm: kvm ?? 'it works',
    directories: await Promise.all([runtimeRoot, defaultDataDir()].map(spaceOf)),
  };
}

async function spaceOf(path: string): Promise<unknown> {
  const space = await statfs(path).catch(() => undefined);
  return { path, totalBytes: space && space.blocks * space.bsize, freeBytes: space && space.bavail * space.bsize };
}
