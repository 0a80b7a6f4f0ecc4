import { join } from 'node:path';
import { SmartVMError } from '../errors.js';
import { reclaimEnded } from '../vmm/registry/reclaim.js';
import type { VmRecord } from '../vmm/registry/record.js';
import { Telemetry } from '../vmm/telemetry.js';
import { vmmFolder } from '../vmm/vm-folder.js';
import { VmmProcess } from '../vmm/vmm-process.js';
import { type BootContext, remaining } from './boot-context.js';

/** Finds the VMM of a VM that runs. Nothing of the VM is changed. */
export async function attachVmm(context: BootContext, signal: AbortSignal): Promise<void> {
  const { id, config, runtimeDir, socketPath, cleanup, attach } = context;
  if (!attach) {
    return;
  }
  const { journal, processes } = attach;
  const vmm = await VmmProcess.attach({
    ...{ id, socketPath, runtimeDir },
    ...{ jailUid: journal.uid, keeper: processes?.keeper },
  });
  cleanup.push('vmm', () => vmm.release());
  const { state } = await vmm.waitUntilReady(remaining(context), signal);
  if (state === 'Not started') {
    throw new SmartVMError('INVALID_STATE', `VM ${id} is being started by program ${attach.owner.pid}`, {
      details: { id, owner: attach.owner.pid },
    });
  }
  context.isPaused = state === 'Paused';
  context.process = vmm;
  context.onVmm(vmm);
  context.telemetry = Telemetry.of(config.config, vmmFolder(runtimeDir), join(runtimeDir, 'vmm.log'));
  undoByRecord(context, attach);
}

/** What the VM holds is from now on undone by whoever sees its end, and as its record says: this program may not be there. */
export function undoByRecord({ runtimeDir, cleanup, telemetry, process }: BootContext, record: VmRecord): void {
  cleanup.forget();
  // One that a program has ended is gone; one that ended by itself stays to be read.
  const extent = () => (process?.life.isEnded ? 'all' : 'holdings');
  cleanup.push('what it holds of the host', () => reclaimEnded(runtimeDir, record, extent()));
  cleanup.push('telemetry', () => telemetry?.close());
  cleanup.push('vmm', () => process?.dispose());
}
