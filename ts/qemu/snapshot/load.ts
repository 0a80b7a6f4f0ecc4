import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { access, constants, mkdtemp, open, rm, stat } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SnapshotLoad } from '../api/snapshot-bodies.js';
import { Fault, osErrorText } from '../fault.js';
import { chooseAccelerator } from '../machine/accelerator.js';
import { Machine } from '../machine/machine.js';
import { machineSpec, withSerialOutput } from '../machine/start.js';
import { KernelCmdline } from '../resources/kernel-cmdline.js';
import type { VmResources } from '../resources/resources.js';
import type { SnapshotConfig } from './config.js';
import { copyMemory, findMemfd, findPrivateMapping, type GuestMemory } from './memory.js';
import { readState, type StateFileError } from './state-file.js';

const MIB = 2 ** 20;
const RESTORE = 'Load snapshot error: Failed to restore from snapshot:';
const DEVICES = `${RESTORE} Failed to build microVM from snapshot: Failed to restore devices:`;
const MEMORY = `${RESTORE} Failed to load guest memory: Error creating guest memory from`;

/** A machine that was loaded, paused, and where its memory is. */
interface LoadedMachine {
  readonly machine: Machine;
  readonly memory: GuestMemory;
}

/**
 * Makes a machine of a snapshot. `resources` are filled from it, half filled when it fails: nothing can be done with them then.
 * @throws Fault
 */
export async function loadSnapshot(resources: VmResources, load: SnapshotLoad): Promise<LoadedMachine> {
  const { config: saved, devices } = await readState(load.snapshot_path).catch((error: StateFileError) => {
    throw new Fault(`${RESTORE} Failed to get snapshot state from file: ${error.message}`);
  });
  const config = overridden(saved as SnapshotConfig, load);
  resources.updateMachineConfig(config.machineConfig);
  const memoryFile = load.mem_backend.backend_path;
  await checkMemory(load, config);
  checkHost(config);
  await restoreDevices(resources, config);
  return await withSerialOutput(resources, `${RESTORE} Failed to build microVM from snapshot:`, (serialFd) =>
    restoreMachine(resources, { serialFd, memoryFile, devices, vsockIsOpen: config.vsockIsOpen }),
  );
}

/** @throws Fault */
function overridden(saved: SnapshotConfig, load: SnapshotLoad): SnapshotConfig {
  const refuse = (what: string) =>
    new Fault(`${RESTORE} Failed to get snapshot state from file: Unknown ${what} Device.`);
  const names = new Map(load.network_overrides.map(({ iface_id, host_dev_name }) => [iface_id, host_dev_name]));
  if (
    load.network_overrides.some(({ iface_id }) => !saved.interfaces.some(({ config }) => config.iface_id === iface_id))
  ) {
    throw refuse('Network');
  }
  if (load.vsock_override && !saved.vsock) {
    throw refuse('Vsock');
  }
  const { huge_pages } = load;
  return {
    ...saved,
    machineConfig: {
      ...saved.machineConfig,
      track_dirty_pages: load.track_dirty_pages,
      huge_pages: huge_pages === 'Snapshot' ? saved.machineConfig.huge_pages : huge_pages,
    },
    interfaces: saved.interfaces.map(({ config, mac }) => ({
      config: { ...config, host_dev_name: names.get(config.iface_id) ?? config.host_dev_name },
      mac,
    })),
    vsock: saved.vsock && { ...saved.vsock, ...load.vsock_override },
  };
}

/** @throws Fault */
async function checkMemory({ mem_backend: backend }: SnapshotLoad, { machineConfig }: SnapshotConfig): Promise<void> {
  if (backend.backend_type === 'Uffd') {
    const missing = await stat(backend.backend_path).then(() => undefined, osErrorText);
    const reason =
      missing === undefined
        ? 'Failed to UFFD object: Operation not supported (os error 95)'
        : `Failed to connect to UDS Unix stream: ${missing}`;
    throw new Fault(`${MEMORY} uffd: ${reason}`);
  }
  if (machineConfig.huge_pages === '2M') {
    throw new Fault(
      `${MEMORY} file: Cannot restore hugetlbfs backed snapshot by mapping the memory file. Please use uffd.`,
    );
  }
  const { size } = await stat(backend.backend_path).catch((cause) => {
    throw new Fault(`${MEMORY} file: Failed to load guest memory: ${osErrorText(cause)}`);
  });
  if (size < machineConfig.mem_size_mib * MIB) {
    throw new Fault(
      `${MEMORY} file: Failed to restore guest memory: Total sum of memory regions exceeds largest possible file offset`,
    );
  }
}

/** @throws Fault */
function checkHost({ arch, accelerator }: SnapshotConfig): void {
  const here = chooseAccelerator();
  if (arch !== process.arch || accelerator !== here) {
    throw new Fault(
      `${RESTORE} Failed to build microVM from snapshot: Failed to restore vCPUs: the snapshot is of ${arch} with ${accelerator}, this is ${process.arch} with ${here}`,
    );
  }
}

/** What Firecracker's refusals say of a device that is configured, and what they say of one that is restored. */
const REFUSALS: readonly (readonly [string, string])[] = [
  ['Drive config error: Unable to create the virtio block device:', 'Block:'],
  ['Network config error: Could not create the network device:', 'Net: Failed to create a network device:'],
  ['Vsock config error: Cannot create backend for vsock device:', 'VsockUnixBackend:'],
];

/** @throws Fault */
async function restoreDevices(resources: VmResources, config: SnapshotConfig): Promise<void> {
  resources.bootSource = { config: config.bootSource, cmdline: KernelCmdline.parse(config.bootSource.boot_args) };
  Object.assign(resources, { balloon: config.balloon, entropy: config.entropy, memoryHotplug: config.memoryHotplug });
  try {
    for (const drive of config.drives) {
      await resources.insertDrive(drive);
    }
    for (const { config: net, mac } of config.interfaces) {
      await resources.interfaces.insert(net, mac);
    }
    for (const pmem of config.pmem) {
      resources.insertPmem(pmem);
    }
    if (config.vsock) {
      await resources.setVsock(config.vsock);
    }
    if (config.mmds) {
      resources.setMmds(config.mmds);
    }
  } catch (error) {
    throw error instanceof Fault
      ? new Fault(`${DEVICES} Error restoring MMIO devices: ${reworded(error.message)}`)
      : error;
  }
}

function reworded(message: string): string {
  const [from, to] = REFUSALS.find(([configured]) => message.startsWith(configured)) ?? ['', ''];
  return to + message.slice(from.length);
}

interface MachineState {
  readonly serialFd: number | undefined;
  readonly memoryFile: string;
  readonly devices: Buffer;
  readonly vsockIsOpen: boolean;
}

/** @throws Fault */
async function restoreMachine(resources: VmResources, state: MachineState): Promise<LoadedMachine> {
  const folder = state.vsockIsOpen ? await mkdtemp(join(tmpdir(), 'smartvm-qemu-')) : undefined;
  const vsockPath = folder && join(folder, 'vsock');
  try {
    const loaded = await bringUp(resources, state, vsockPath === undefined ? {} : { vsockPath });
    if (folder !== undefined && vsockPath !== undefined) {
      const removed = () => rmSync(folder, { recursive: true, force: true }); // at once: the process may be about to end
      resources.vsock?.plugAfterClose(() => connectOnce(vsockPath).finally(removed));
      void loaded.machine.ended.then(removed);
    }
    return loaded;
  } catch (cause) {
    if (folder !== undefined) {
      await rm(folder, { recursive: true, force: true });
    }
    throw new Fault(`${DEVICES} ${(cause as Error).message}`);
  }
}

async function bringUp(
  resources: VmResources,
  { serialFd, memoryFile, devices }: MachineState,
  vsock: { readonly vsockPath?: string },
): Promise<LoadedMachine> {
  const spec = { ...(await machineSpec(resources)), bootSource: undefined, incoming: true, ...vsock };
  const connections = { vsock: resources.vsock, serialFd };
  if (!resources.balloon && (await isWritable(memoryFile))) {
    const machine = await Machine.restore({ ...spec, memoryFile }, connections, devices);
    const { ino } = await stat(memoryFile);
    return { machine, memory: await findPrivateMapping(machine.pid, ino) };
  }
  // What a balloon takes from the guest, QEMU cuts out of the file, private or not; and one that it may not write to, as in a
  // jail, it does not map at all (before 8.2). Such a machine gets memory of its own.
  const size = spec.machineConfig.mem_size_mib * MIB;
  const machine = await Machine.restore(spec, connections, devices, (pid) => fillMemory(pid, memoryFile, size));
  return { machine, memory: await findMemfd(machine.pid) };
}

async function isWritable(path: string): Promise<boolean> {
  return await access(path, constants.W_OK).then(
    () => true,
    () => false,
  );
}

async function fillMemory(pid: number, memoryFile: string, sizeBytes: number): Promise<void> {
  const target = await open((await findMemfd(pid)).path, 'r+');
  try {
    await copyMemory({ path: memoryFile, offset: 0 }, target, sizeBytes, true);
  } finally {
    await target.close();
  }
}

async function connectOnce(path: string): Promise<Socket> {
  const socket = connect(path);
  await once(socket, 'connect');
  return socket;
}
