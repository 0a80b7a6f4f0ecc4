import { createHash } from 'node:crypto';
import { isSmartVMError, type SmartVMError } from '../../errors.js';
import { run } from '../../util/run.js';
import { type NftCommand, nftInput, TABLE } from '../policy/nft.js';
import { baseRuleset } from '../policy/ruleset.js';
import { plumbingError } from './ip.js';

/** A set without elements whose name tells which base is in place: of an older or newer release it has another. */
const MARK = `base_${createHash('sha256').update(baseRuleset()).digest('hex').slice(0, 16)}`;
const MARKED = `flush set inet ${TABLE} ${MARK}`;

/** `absent`: there is no base; nobody has made it yet, or somebody has flushed it away. `conflict`: the tables hold something else. */
export type NftOutcome = 'done' | 'absent' | 'conflict';

/**
 * Runs commands in one transaction, where the base is in place: all are done, or nothing is.
 * @throws SmartVMError NET_ADMIN_MISSING, NETWORK_FAILED, TOOL_MISSING, CANCELED
 */
export async function tryNft(commands: readonly NftCommand[], signal?: AbortSignal): Promise<NftOutcome> {
  return await outcomeOf(nft(['-f', '-'], nftInput([MARKED, ...commands]), signal));
}

/** Puts the base in place, and into it all that is to be in it, in one transaction. Sets that are there keep what they have. */
export async function rebuildNft(commands: readonly NftCommand[], signal?: AbortSignal): Promise<NftOutcome> {
  const mark = `add set inet ${TABLE} ${MARK} { type ifname; }`;
  return await outcomeOf(nft(['-f', '-'], nftInput([baseRuleset(), mark, ...commands]), signal));
}

/** What our tables hold, in nft's JSON: those that are there. */
export async function listNft(signal?: AbortSignal): Promise<string[]> {
  const list = async (family: string) => {
    try {
      return [(await nft(['-j', 'list', 'table', family, TABLE], '', signal)).toString()];
    } catch (error) {
      return isAbsent(error) ? [] : Promise.reject(plumbingError(error as SmartVMError));
    }
  };
  return (await Promise.all([list('inet'), list('bridge')])).flat();
}

/** Takes our tables away, whether they are there or not. */
export async function removeNft(): Promise<void> {
  const tables = ['inet', 'bridge'].map((family) => `table ${family} ${TABLE}`);
  await outcomeOf(nft(['-f', '-'], tables.map((table) => `add ${table}\ndelete ${table}\n`).join('')));
}

async function outcomeOf(running: Promise<unknown>): Promise<NftOutcome> {
  try {
    await running;
    return 'done';
  } catch (error) {
    if (isAbsent(error)) {
      return 'absent';
    }
    if (isToolError(error, /File exists|Device or resource busy/)) {
      return 'conflict';
    }
    throw plumbingError(error as SmartVMError);
  }
}

const isAbsent = (error: unknown) => isToolError(error, /No such file or directory/);

function isToolError(error: unknown, words: RegExp): boolean {
  return isSmartVMError(error, 'TOOL_FAILED') && words.test(error.message);
}

async function nft(args: readonly string[], input: string, signal?: AbortSignal): Promise<Buffer> {
  return await run('nft', args, { input, signal });
}
