import { randomUUID } from 'node:crypto';
import { type FileHandle, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncDirectory } from '../../util/atomic-file.js';
import type { SnapshotCreate } from '../api/snapshot-bodies.js';
import { Fault, osErrorText } from '../fault.js';
import { chooseAccelerator } from '../machine/accelerator.js';
import type { Machine } from '../machine/machine.js';
import type { VmResources } from '../resources/resources.js';
import { snapshotConfig } from './config.js';
import { copyMemory, type GuestMemory } from './memory.js';
import { encodeState } from './state-file.js';

const MIB = 2 ** 20;
const REFUSAL = 'Create snapshot error:';

/**
 * Writes the state of a paused machine, and its memory. Both are complete under temporary names before either gets its own; for
 * the moment between, there is no state file, so that an older one never meets the memory of a newer.
 * @param memory where the guest's memory is
 * @throws Fault
 */
export async function createSnapshot(
  resources: VmResources,
  machine: Machine,
  memory: GuestMemory,
  { snapshot_type, snapshot_path, mem_file_path }: SnapshotCreate,
): Promise<void> {
  await refuseHotplugged(resources, machine);
  const suffix = `.${randomUUID()}.tmp`;
  const [devices, state, mem] = [
    `${snapshot_path}.devices${suffix}`,
    snapshot_path + suffix,
    `${mem_file_path}.mem${suffix}`,
  ];
  try {
    await write(snapshot_path, state, 'snapshot', async (file) => {
      await machine.saveDevices(devices);
      const config = snapshotConfig(resources, chooseAccelerator());
      await file.writeFile(encodeState({ config, devices: await readFile(devices) }));
    });
    await write(mem_file_path, mem, 'memory', async (file) => {
      const size = resources.machineConfig.mem_size_mib * MIB;
      await file.truncate(size);
      // A differential snapshot is laid over another: a zero in it must be written, or what lies beneath shows through.
      await copyMemory(memory, file, size, snapshot_type === 'Full');
    });
    await rm(snapshot_path, { force: true });
    await rename(mem, mem_file_path);
    await rename(state, snapshot_path);
    await Promise.all([syncDirectory(dirname(mem_file_path)), syncDirectory(dirname(snapshot_path))]);
  } finally {
    await Promise.all([devices, state, mem].map((path) => rm(path, { force: true })));
  }
}

async function write(
  path: string,
  temporary: string,
  what: 'snapshot' | 'memory',
  fill: (file: FileHandle) => Promise<void>,
): Promise<void> {
  const file = await openTarget(path, temporary).catch((cause) => {
    throw new Fault(`${REFUSAL} Cannot perform open on the ${what} backing file: ${osErrorText(cause)}`);
  });
  try {
    await fill(file);
    await file.datasync();
  } catch (cause) {
    throw new Fault(`${REFUSAL} Cannot write ${path}: ${(cause as Error).message}`);
  } finally {
    await file.close();
  }
}

/** What is at the final path is replaced; a directory or a device cannot be. */
async function openTarget(path: string, temporary: string): Promise<FileHandle> {
  if (path === '') {
    throw Object.assign(new Error('no path'), { code: 'ENOENT' });
  }
  const existing = await stat(path).catch(() => undefined);
  if (existing && !existing.isFile()) {
    throw Object.assign(new Error('not a file'), { code: existing.isDirectory() ? 'EISDIR' : 'EINVAL' });
  }
  return await open(temporary, 'wx', 0o600);
}

/** Memory that was plugged in is not in the file. */
async function refuseHotplugged({ memoryHotplug }: VmResources, machine: Machine): Promise<void> {
  if (memoryHotplug && (await machine.hotplugMemory.status(memoryHotplug)).plugged_size_mib > 0) {
    throw new Fault(
      `${REFUSAL} Cannot save the microVM state: Operation not allowed: hotplugged memory is in use; unplug it first`,
    );
  }
}
