import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readBoundedText } from '../util/bounded-file.js';
import { parseSafeJson } from '../util/safe-json.js';
import type { VmKeys } from './keys.js';

/** What another program of this user needs to reach a guest. */
export interface GuestAccess {
  readonly udsPath: string;
  readonly keys: Pick<VmKeys, 'clientKey' | 'hostPublicKey'>;
}

const NAME = 'guest.json';
const MAX_BYTES = 64 * 1024;

/** Keeps it in the VM's directory, for this user alone. */
export async function writeGuestAccess(runtimeDir: string, { udsPath, keys }: GuestAccess): Promise<void> {
  const { clientKey, hostPublicKey } = keys;
  const content = JSON.stringify({ udsPath, keys: { clientKey, hostPublicKey } });
  await writeFile(join(runtimeDir, NAME), content, { mode: 0o600, flag: 'wx' });
}

/** Undefined where the guest has no agent of ours. */
export async function readGuestAccess(runtimeDir: string): Promise<GuestAccess | undefined> {
  try {
    const { udsPath, keys } = parseSafeJson(
      await readBoundedText(join(runtimeDir, NAME), MAX_BYTES, false),
    ) as GuestAccess;
    const isWhole = [udsPath, keys.clientKey, keys.hostPublicKey].every((value) => typeof value === 'string');
    return isWhole ? { udsPath, keys } : undefined;
  } catch {
    return undefined;
  }
}
