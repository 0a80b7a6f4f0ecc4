import type { Answer, Handlers } from '../api/actions.js';
import type { SnapshotLoad } from '../api/snapshot-bodies.js';
import { Fault } from '../fault.js';
import { findMemfd } from '../snapshot/memory.js';
import { VMM_SOURCE } from '../telemetry/logger.js';
import { done, queryHandlers } from './common.js';
import type { Vmm } from './vmm.js';

/** What is legal before the VM has started. */
export function prebootHandlers(vmm: Vmm): Handlers {
  const { resources } = vmm;
  let kernelCheck: Promise<void> | undefined;
  let bootsFresh = false;
  const configure = configurationHandlers(vmm, (check) => {
    kernelCheck = check;
  });
  return {
    ...queryHandlers(vmm),
    ...before(configure, () => {
      bootsFresh = true;
    }),
    GetBalloonConfig: () => {
      if (!resources.balloon) {
        throw new Fault('Balloon config error: No balloon device found.');
      }
      return resources.balloon;
    },
    ConfigureLogger: done((config) => vmm.logger.configure(config)),
    ConfigureMetrics: done((config) => vmm.metrics.configure(config)),
    ConfigureSerial: done((config) => {
      resources.serial = config;
    }),
    PutCpuConfiguration: done(() => resources.setCustomCpuTemplate()),
    PutMmds: done((value) => resources.mmds.put(value)),
    PatchMmds: done((patch) => resources.mmds.patch(patch)),
    StartMicroVm: done(async () => {
      const { startMachine } = await import('../machine/start.js');
      const machine = await startMachine(resources, kernelCheck);
      await vmm.onStarted(machine, await findMemfd(machine.pid), 'Running');
    }),
    LoadSnapshot: done((load) => {
      if (bootsFresh) {
        throw new Fault(
          'Load snapshot error: Loading a microVM snapshot not allowed after configuring boot-specific resources.',
        );
      }
      return loadSnapshot(vmm, load);
    }),
  };
}

/** What configures a VM that is to boot: after any of it, were it refused, no snapshot can be loaded. */
function configurationHandlers({ resources }: Vmm, onKernelCheck: (check: Promise<void>) => void): Handlers {
  return {
    ConfigureBootSource: done(async (config) => {
      await resources.setBootSource(config);
      // Reading a kernel takes a while, and so does loading code; both are done by the time the VM is to start.
      void Promise.all([import('../machine/start.js'), import('./runtime.js'), import('./device-metrics.js')]);
      const check = import('../machine/kernel.js').then(({ checkKernel }) => checkKernel(config.kernel_image_path));
      check.catch(() => undefined);
      onKernelCheck(check);
    }),
    UpdateMachineConfiguration: done((update) => resources.updateMachineConfig(update)),
    InsertBlockDevice: done((config) => resources.insertDrive(config)),
    InsertNetworkDevice: done((config) => resources.insertInterface(config)),
    InsertPmemDevice: done((config) => resources.insertPmem(config)),
    SetBalloonDevice: done((config) => resources.setBalloon(config)),
    SetEntropyDevice: done((config) => resources.setEntropy(config)),
    SetMemoryHotplugDevice: done((config) => resources.setMemoryHotplug(config)),
    SetMmdsConfiguration: done((config) => resources.setMmds(config)),
    SetVsockDevice: done((config) => resources.setVsock(config)),
  };
}

type AnyHandler = (parameters: never) => Answer | Promise<Answer>;

/** The handlers, with something done before each. */
function before(handlers: Handlers, act: () => void): Handlers {
  const entries = Object.entries(handlers as Readonly<Record<string, AnyHandler>>);
  return Object.fromEntries(
    entries.map(([name, handler]) => [
      name,
      (parameters: never) => {
        act();
        return handler(parameters);
      },
    ]),
  );
}

/** A load that fails leaves a VM of which nothing is known: there is only its end then. @throws Fault */
async function loadSnapshot(vmm: Vmm, load: SnapshotLoad): Promise<void> {
  const start = performance.now();
  try {
    const { loadSnapshot } = await import('../snapshot/load.js');
    const { machine, memory } = await loadSnapshot(vmm.resources, load);
    await vmm.onStarted(machine, memory, 'Paused');
    if (load.resume_vm) {
      await machine.resume();
      vmm.state = 'Running';
    }
  } catch (error) {
    vmm.isDoomed = true;
    throw error;
  }
  const us = vmm.metrics.took('vmm_load_snapshot', start);
  vmm.logger.write('DEBUG', VMM_SOURCE, `'load snapshot' VMM action took ${us} us.`);
}
