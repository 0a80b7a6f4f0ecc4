import { once } from 'node:events';
import { SmartVMError } from '../../errors.js';
import type { ForwardedPort } from '../../guest/ports/forward.js';
import { watchInterrupts } from '../interrupt.js';
import { attachTo, findRunningVm } from '../vms/attached.js';
import { printLines } from '../vms/output.js';
import { parseForward } from './spec.js';

/** Forwards ports until it is interrupted, or the VM ends. */
export async function portForward(reference: string, specs: readonly string[], reverse: boolean): Promise<number> {
  const wanted = specs.map((spec) => parseForward(spec, reverse));
  using interrupt = watchInterrupts();
  try {
    await using vm = await attachTo(findRunningVm(reference), interrupt.signal);
    const ended = once(vm, 'exit', { signal: interrupt.signal });
    ended.catch(() => undefined);
    for (const options of wanted) {
      await printLines([line(await vm.forwardPort(options), reverse)]);
    }
    await ended;
    throw new SmartVMError('VMM_EXITED', `VM ${vm.id} has ended`, { details: { id: vm.id } });
  } catch (error) {
    if (interrupt.exitCode === undefined) {
      throw error;
    }
    return interrupt.exitCode;
  }
}

function line({ hostIp, hostPort, hostPath, guestPort, guestPath }: ForwardedPort, reverse: boolean): string {
  const host = hostPath ?? `${hostIp?.includes(':') ? `[${hostIp}]` : hostIp}:${hostPort}`;
  const guest = guestPath ?? `port ${guestPort}`;
  return reverse ? `${guest} of the guest leads to ${host}` : `${host} leads to ${guest} of the guest`;
}
