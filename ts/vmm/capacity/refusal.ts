import { SmartVMError } from '../../errors.js';
import { countAhead, takenOf } from './admission.js';
import { type Amounts, inWords, sum } from './amounts.js';
import { monotonicNow, type Reservation } from './reservation.js';

const NAMED = 8;

/** No end of another VM would help. */
export function neverFits(id: string, asked: Amounts, limits: Amounts): SmartVMError {
  const details = { id, asked, limits };
  return asked.memoryMib > limits.memoryMib
    ? new SmartVMError(
        'MEMORY_EXCEEDED',
        `VM ${id} needs ${asked.memoryMib} MiB with its VMM, and all VMs of this host may have ${limits.memoryMib} MiB; give it less memory, or raise 'capacity.memoryOvercommit'`,
        { details },
      )
    : new SmartVMError(
        'CAPACITY_EXCEEDED',
        `VM ${id} needs ${asked.vcpus} vCPUs, and all VMs of this host may have ${limits.vcpus}; give it fewer, or raise 'capacity.cpuOvercommit'`,
        { details },
      );
}

/** Others have it. */
export function capacityExceeded(mine: Reservation, seen: readonly Reservation[], limits: Amounts): SmartVMError {
  const { queueMs } = mine;
  const holders = takenOf(seen).filter(({ key }) => key !== mine.key);
  const taken = sum(holders.map(({ amounts }) => amounts));
  const free = {
    memoryMib: Math.max(0, limits.memoryMib - taken.memoryMib),
    vcpus: Math.max(0, limits.vcpus - taken.vcpus),
  };
  const waitingBefore = countAhead(mine, seen);
  const waitedMs = Math.round(Number(monotonicNow() - mine.ticket) / 1e6);
  const message = [
    `VM ${mine.id} needs ${inWords(mine.amounts)} with its VMM`,
    queueMs > 0 ? ` and has waited ${waitedMs} ms in line` : '',
    `: of this host's ${inWords(limits)}, ${inWords(free)} are free`,
    waitingBefore > 0 ? `, for which ${waitingBefore} came before it` : '',
    `; ${whoHolds(holders)}. Stop some of them, `,
    queueMs > 0 ? "give it more time by 'queueMs', " : "let it wait in line by 'queueMs', ",
    `or raise 'capacity.${mine.amounts.memoryMib > free.memoryMib ? 'memoryOvercommit' : 'cpuOvercommit'}'`,
  ];
  return new SmartVMError('CAPACITY_EXCEEDED', message.join(''), {
    details: {
      id: mine.id,
      asked: mine.amounts,
      free,
      limits,
      holders: holders.map(({ id, amounts }) => ({ id, ...amounts })),
      waitingBefore,
      waitedMs,
    },
  });
}

/** The largest first, for with these the reader gets furthest. */
function whoHolds(holders: readonly Reservation[]): string {
  const sorted = holders.toSorted((a, b) => b.amounts.memoryMib - a.amounts.memoryMib);
  const named = sorted.slice(0, NAMED).map(({ id, amounts }) => `${id} (${inWords(amounts)})`);
  const rest = holders.length - named.length;
  const all = [...named, ...(rest > 0 ? [`${rest} more`] : [])];
  return all.length === 0 ? 'no VM holds any' : `taken by ${all.join(', ')}`;
}
