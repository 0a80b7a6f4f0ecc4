import { existsSync, lstatSync } from 'node:fs';
import { resolve } from 'node:path';
import { SmartVMError } from '../errors.js';
import { currentProcess } from '../util/process-identity.js';
import { removeDirectory } from '../vmm/registry/passing-folder.js';
import { EMPTY_JOURNAL, RECORD_VERSION, type VmRecord, withoutSecrets } from '../vmm/registry/record.js';
import { RecordFile } from '../vmm/registry/record-file.js';
import type { BootContext } from './boot-context.js';
import { interfacesOf } from './network.js';
import { reclaimTaken, taken } from './predecessor.js';

/** Makes the directory of a VM. What a dead one of the same id has left is undone first, and never used. */
export async function makeRuntimeDirectory(context: BootContext): Promise<void> {
  const { id, runtimeDir, socketPath, cleanup } = context;
  const create = async () => await RecordFile.create(runtimeDir, await firstRecord(context));
  const record = (await create()) ?? (await reclaimTaken(id, runtimeDir).then(create));
  if (!record) {
    throw taken(id, runtimeDir, 'another program has just taken the id');
  }
  context.record = record;
  cleanup.push('runtime directory', () => removeDirectory(runtimeDir));
  if (lstatSync(socketPath, { throwIfNoEntry: false })) {
    // Firecracker never removes its socket and dies of one that is there; whose it is, only its user can know.
    throw new SmartVMError(
      'VM_EXISTS',
      `${socketPath} exists: another VMM has it or has left it; remove it or name another`,
    );
  }
}

/** What is known of a VM before anything of it is made. */
async function firstRecord(context: BootContext): Promise<VmRecord> {
  const { id, config, restore, executable, vmmKind, tags, launcher, claim, connection } = context;
  const interfaces = restore ? [] : interfacesOf(context);
  const keeper = await launcher?.process;
  return {
    version: RECORD_VERSION,
    id,
    ...tags,
    createdAt: new Date().toISOString(),
    owner: currentProcess(),
    detached: false,
    ...(context.removeOnExit ? { removeOnExit: true } : {}),
    vmm: { kind: vmmKind, path: executable },
    socketPath: resolve(context.socketPath),
    restored: restore !== undefined,
    config: withoutSecrets({ ...config.config, ...(interfaces.length > 0 ? { networkInterfaces: interfaces } : {}) }),
    ...(connection ? { networks: connection.attachments } : {}),
    journal: { ...EMPTY_JOURNAL, sockets: socketsOutside(context), ...(claim ? { layers: claim.paths } : {}) },
    ...(keeper && { processes: { keeper } }),
  };
}

/** What the VMM will make elsewhere. A socket that is there is somebody else's. */
function socketsOutside({ config, restore, socketPath, runtimeDir }: BootContext): string[] {
  const paths = [socketPath, config.config.vsock?.udsPath, restore?.vsockOverride?.udsPath];
  const places = paths.filter((path) => path !== undefined).map((path) => resolve(path));
  return places.filter((path) => !path.startsWith(`${resolve(runtimeDir)}/`) && !existsSync(path));
}
