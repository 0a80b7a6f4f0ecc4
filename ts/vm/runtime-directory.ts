import { existsSync, lstatSync } from 'node:fs';
import { resolve } from 'node:path';
import { SmartVMError } from '../errors.js';
import { currentProcess } from '../util/process-identity.js';
import { removeDirectory } from '../vmm/registry/passing-folder.js';
import { reclaim } from '../vmm/registry/reclaim.js';
import {
  EMPTY_JOURNAL,
  RECORD_VERSION,
  UnreadableRecord,
  type VmRecord,
  withoutSecrets,
} from '../vmm/registry/record.js';
import { RecordFile, readRecord } from '../vmm/registry/record-file.js';
import { standingOf } from '../vmm/registry/standing.js';
import type { BootContext } from './boot-context.js';

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

async function reclaimTaken(id: string, runtimeDir: string): Promise<void> {
  const record = await readRecord(runtimeDir, id).catch((error: unknown) => {
    if (!(error instanceof UnreadableRecord)) {
      throw error;
    }
    const why = `${runtimeDir} is there, and is not known to be a VM's that has ended`;
    throw taken(id, runtimeDir, `${why} (${error.message}); remove it or take another id`);
  });
  const standing = await standingOf(runtimeDir, record);
  if (standing !== 'dead') {
    const owner = `program ${record.owner.pid} has it`;
    throw taken(id, runtimeDir, standing === 'owned' ? owner : 'it is already running');
  }
  await reclaim(runtimeDir, record);
}

function taken(id: string, runtimeDir: string, why: string): SmartVMError {
  return new SmartVMError('VM_EXISTS', `VM ${id} exists: ${why}`, { details: { id, runtimeDir } });
}

/** What is known of a VM before anything of it is made. */
async function firstRecord(context: BootContext): Promise<VmRecord> {
  const { id, config, restore, executable, vmmKind, tags, launcher, claim } = context;
  const keeper = await launcher?.process;
  return {
    version: RECORD_VERSION,
    id,
    ...tags,
    createdAt: new Date().toISOString(),
    owner: await currentProcess(),
    detached: false,
    ...(context.removeOnExit ? { removeOnExit: true } : {}),
    vmm: { kind: vmmKind, path: executable },
    socketPath: resolve(context.socketPath),
    restored: restore !== undefined,
    config: withoutSecrets(config.config),
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
