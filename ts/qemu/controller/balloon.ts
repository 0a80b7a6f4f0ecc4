import type { Handlers } from '../api/actions.js';
import type { Balloon } from '../api/device-bodies.js';
import { Fault } from '../fault.js';
import type { Machine } from '../machine/machine.js';
import { done } from './common.js';
import type { Vmm } from './vmm.js';

const NOT_FOUND = 'Failed perform action on device: Device not found';
const UPDATE = 'Balloon update error:';

/** What can be done with the balloon of a running VM. */
export function balloonHandlers({ resources }: Vmm, machine: Machine): Handlers {
  const find = (refusal: string): Balloon => {
    if (!resources.balloon) {
      throw new Fault(`${refusal} ${NOT_FOUND}`);
    }
    return resources.balloon;
  };
  return {
    GetBalloonConfig: () => find('Internal VMM error:'),
    GetBalloonStats: () => {
      const balloon = find('Internal VMM error:');
      if (balloon.stats_polling_interval_s === 0) {
        throw new Fault('Internal VMM error: Balloon: Received stats query when stats are disabled.');
      }
      return machine.balloon.stats(balloon);
    },
    UpdateBalloon: done(async ({ amount_mib }) => {
      const balloon = find(UPDATE);
      await checkActivated(machine);
      if (amount_mib > resources.machineConfig.mem_size_mib) {
        throw new Fault(`${UPDATE} Balloon: Requested memory should be less than ${amount_mib}MiB`);
      }
      await machine.balloon.setTarget(amount_mib);
      resources.balloon = { ...balloon, amount_mib };
    }),
    UpdateBalloonStatistics: done(async ({ stats_polling_interval_s: seconds }) => {
      const balloon = find(UPDATE);
      if (seconds === balloon.stats_polling_interval_s) {
        return;
      }
      if (seconds === 0 || balloon.stats_polling_interval_s === 0) {
        throw new Fault(`${UPDATE} Balloon: Statistics cannot be enabled/disabled after activation.`);
      }
      await machine.balloon.setPollingInterval(seconds);
      resources.balloon = { ...balloon, stats_polling_interval_s: seconds };
    }),
    ...hintingHandlers(find, machine),
  };
}

/** QEMU gives hints only to a migration: to the guest's driver, hinting is off, whatever was configured. */
function hintingHandlers(find: (refusal: string) => Balloon, machine: Machine): Handlers {
  const check = () => {
    if (!find(UPDATE).free_page_hinting) {
      throw hintingOff();
    }
  };
  const refuse = done(async () => {
    check();
    await checkActivated(machine);
    throw hintingOff();
  });
  return {
    StartFreePageHinting: refuse,
    StopFreePageHinting: refuse,
    GetFreePageHintingStatus: () => {
      check();
      return { host_cmd: 0, guest_cmd: null };
    },
  };
}

const hintingOff = () => new Fault(`${UPDATE} Balloon: Attempting to use hinting when not enabled`);

async function checkActivated(machine: Machine): Promise<void> {
  if (!(await machine.balloon.isActivated())) {
    throw new Fault(`${UPDATE} Balloon: Device not activated yet.`);
  }
}
