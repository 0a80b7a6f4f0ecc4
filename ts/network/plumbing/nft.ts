import { createHash } from 'node:crypto';
import type { SmartVMError } from '../../errors.js';
import { run } from '../../util/run.js';
import { type NftCommand, nftInput, TABLE } from '../policy/nft.js';
import { baseRuleset } from '../policy/ruleset.js';
import { plumbingError } from './ip.js';

/** A set without elements whose name tells which base is in place: of an older or newer release it has another. */
const MARK = `base_${createHash('sha256').update(baseRuleset()).digest('hex').slice(0, 16)}`;
const MARKED = `flush set inet ${TABLE} ${MARK}`;

/**
 * Runs commands in one transaction, where the base is in place.
 * @returns false, with nothing done, where it is not: nobody has made it yet, or somebody has flushed it away
 * @throws SmartVMError NET_ADMIN_MISSING, NETWORK_FAILED, TOOL_MISSING, CANCELED
 */
export async function tryNft(commands: readonly NftCommand[], signal?: AbortSignal): Promise<boolean> {
  try {
    await nft(['-f', '-'], nftInput([MARKED, ...commands]), signal);
    return true;
  } catch (error) {
    if (/No such file or directory/.test((error as SmartVMError).message)) {
      return false;
    }
    throw error;
  }
}

/** Puts the base in place, and into it all that is to be in it, in one transaction. Sets that are there keep what they have. */
export async function rebuildNft(commands: readonly NftCommand[], signal?: AbortSignal): Promise<void> {
  const mark = `add set inet ${TABLE} ${MARK} { type ifname; }`;
  await nft(['-f', '-'], nftInput([baseRuleset(), mark, ...commands]), signal);
}

/** Takes our tables away, whether they are there or not. */
export async function removeNft(): Promise<void> {
  const tables = ['inet', 'bridge'].map((family) => `table ${family} ${TABLE}`);
  await nft(['-f', '-'], tables.map((table) => `add ${table}\ndelete ${table}\n`).join(''));
}

async function nft(args: readonly string[], input: string, signal?: AbortSignal): Promise<void> {
  try {
    await run('nft', args, { input, signal });
  } catch (error) {
    throw /No such file or directory/.test((error as SmartVMError).message)
      ? error
      : plumbingError(error as SmartVMError);
  }
}
