import { readFileSync } from 'node:fs';
import { SmartVMError } from '../../errors.js';
import { requireTools, run } from '../../util/run.js';

/** CAP_NET_ADMIN of capability.h. */
const NET_ADMIN = 1n << 12n;

/**
 * Runs lines of ip(8) in one process, in the host's network namespace or another.
 * @throws SmartVMError NET_ADMIN_MISSING, INTERFACE_TAKEN, INTERFACE_GONE, NETWORK_FAILED, TOOL_MISSING, CANCELED
 */
export async function runIp(lines: readonly string[], options: IpOptions = {}): Promise<void> {
  const { namespace, family, force = false, signal } = options;
  const where = [...(namespace === undefined ? [] : ['-netns', namespace]), ...(family ? [`-${family}`] : [])];
  const args = [...where, ...(force ? ['-force'] : []), '-json', '-batch', '-'];
  try {
    await run('ip', args, { input: `${lines.join('\n')}\n`, signal });
  } catch (error) {
    if (!force || (error as SmartVMError).code !== 'TOOL_FAILED') {
      throw plumbingError(error as SmartVMError, lines);
    }
  }
}

export interface IpOptions {
  readonly namespace?: string | undefined;
  /** The version of IP that routes and rules are of. */
  readonly family?: 4 | 6 | undefined;
  /** Goes on behind a line that fails, and says nothing of it: what is to be gone may be gone already. */
  readonly force?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** Whether this program may change networks of the host. */
export function isNetAdmin(): boolean {
  const [, effective = '0'] = /^CapEff:\s*([\da-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  return (BigInt(`0x${effective}`) & NET_ADMIN) !== 0n;
}

let tools: Promise<void> | undefined;

/**
 * Says before anything is made what would be missing in its middle.
 * @throws SmartVMError NET_ADMIN_MISSING, TOOL_MISSING
 */
export async function assertCanPlumb(): Promise<void> {
  if (!isNetAdmin()) {
    throw netAdminMissing();
  }
  tools ??= requireTools(['ip', 'nft']);
  await tools.catch((error: unknown) => {
    tools = undefined; // they may be installed meanwhile
    throw error;
  });
}

/** What a failure of ip(8) or nft(8) means. */
export function plumbingError(error: SmartVMError, lines: readonly string[] = []): SmartVMError {
  if (error.code !== 'TOOL_FAILED') {
    return error;
  }
  const line = lines[Number(/Command failed -:(\d+)/.exec(error.message)?.[1] ?? 0) - 1];
  const details = line === undefined ? {} : { command: line };
  const what = line === undefined ? error.message : `${error.message} (of: ip ${line})`;
  if (/not permitted|Permission denied/.test(error.message)) {
    return netAdminMissing(error);
  }
  if (/File exists/.test(error.message)) {
    return new SmartVMError('INTERFACE_TAKEN', `an interface has the name already: ${what}`, { cause: error, details });
  }
  if (/Cannot find device|does not exist|No such device/.test(error.message)) {
    return new SmartVMError('INTERFACE_GONE', `an interface of the network has gone: ${what}`, {
      cause: error,
      details,
    });
  }
  return new SmartVMError('NETWORK_FAILED', `the network could not be set up: ${what}`, { cause: error, details });
}

function netAdminMissing(cause?: unknown): SmartVMError {
  return new SmartVMError(
    'NET_ADMIN_MISSING',
    "interfaces and rules of the host take the capability CAP_NET_ADMIN: run as root, or use the network 'user' on smartvm-qemu",
    { cause, details: { capability: 'CAP_NET_ADMIN' } },
  );
}
