import type { Duplex } from 'node:stream';
import { isSmartVMError, SmartVMError } from '../../errors.js';
import { delay, linkSignals, throwIfCanceled } from '../../util/deadline.js';
import { formatGuestAddress, type GuestAddress } from './address.js';

export interface WaitForPortOptions {
  /** Most milliseconds. Default 30,000. */
  readonly timeoutMs?: number | undefined;
  /** Ends the wait. */
  readonly signal?: AbortSignal | undefined;
}

const DEFAULT_TIMEOUT_MS = 30_000;
const AGAIN_MS = 50;

/**
 * Waits until somebody listens there.
 * @throws SmartVMError PORT_UNREACHABLE with the last refusal when nobody does in time, CANCELED, and what the guest is lost by
 */
export async function waitForPort(
  address: GuestAddress,
  dial: () => Promise<Duplex>,
  { timeoutMs = DEFAULT_TIMEOUT_MS, signal }: WaitForPortOptions,
): Promise<void> {
  using linked = linkSignals([signal], timeoutMs);
  const ended = new Promise<undefined>((resolve) => {
    linked.signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
  let refusal: unknown = new Error('no answer');
  while (!linked.signal.aborted) {
    const dialled = dial();
    try {
      const socket = await Promise.race([dialled, ended]);
      if (socket) {
        socket.destroy();
        return;
      }
      dialled.then(
        (late) => late.destroy(),
        () => undefined,
      );
    } catch (error) {
      if (!isSmartVMError(error, 'PORT_UNREACHABLE')) {
        throw error;
      }
      refusal = error.cause;
      await delay(AGAIN_MS, linked.signal);
    }
  }
  const where = formatGuestAddress(address);
  throwIfCanceled(signal, `the wait for ${where}`);
  const what = `nobody listens at ${where} in the guest within ${timeoutMs} ms: ${(refusal as Error).message}`;
  throw new SmartVMError('PORT_UNREACHABLE', what, { cause: refusal, details: { ...address, timeoutMs } });
}
