import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { currentProcess } from '../util/process-identity.js';
import { EMPTY_JOURNAL, RECORD_VERSION, type VmRecord, withoutSecrets } from '../vmm/registry/record.js';
import type { BootContext } from './boot-context.js';

/** What is known of a VM before anything of it is made. */
export async function firstRecord(context: BootContext): Promise<VmRecord> {
  const { id, config, restore, executable, vmmKind, tags } = context;
  return {
    version: RECORD_VERSION,
    id,
    ...tags,
    createdAt: new Date().toISOString(),
    owner: await currentProcess(),
    detached: false,
    vmm: { kind: vmmKind, path: executable },
    socketPath: resolve(context.socketPath),
    restored: restore !== undefined,
    config: withoutSecrets(config.config),
    journal: { ...EMPTY_JOURNAL, sockets: socketsOutside(context) },
  };
}

/** What the VMM will make elsewhere. A socket that is there is somebody else's. */
function socketsOutside({ config, restore, socketPath, runtimeDir }: BootContext): string[] {
  const paths = [socketPath, config.config.vsock?.udsPath, restore?.vsockOverride?.udsPath];
  const places = paths.filter((path) => path !== undefined).map((path) => resolve(path));
  return places.filter((path) => !path.startsWith(`${resolve(runtimeDir)}/`) && !existsSync(path));
}
