import { INTERFACE_NAME_RULE, isValidHostDevice, isValidResourceId, RESOURCE_ID_RULE } from '../ids.js';
import type { INetworkInterfaceConfig } from '../types.js';
import { type Check, integer, list, object, reportDuplicates, rule } from './checks.js';
import { rateLimiter } from './rate-limiter.js';

/** Linux gives an interface whose address is a group's or all zeros a random one instead. */
export function isUnicastMac(mac: string): boolean {
  const wellFormed = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(mac);
  return wellFormed && (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0 && mac !== '00:00:00:00:00:00';
}

export const networkInterface = object<INetworkInterfaceConfig>(
  {
    ifaceId: rule(isValidResourceId, RESOURCE_ID_RULE),
    hostDevName: rule(isValidHostDevice, INTERFACE_NAME_RULE),
    guestMac: rule(isUnicastMac, 'must be a unicast MAC address like 02:00:00:00:00:01'),
    mtu: integer(68, 65_535),
    rxRateLimiter: rateLimiter,
    txRateLimiter: rateLimiter,
  },
  ['ifaceId'],
);

const eachInterface = list(networkInterface);

export const networkInterfaces: Check = (value, path, report) => {
  eachInterface(value, path, report);
  reportDuplicates(value, path, 'ifaceId', report);
  reportDuplicates(value, path, 'hostDevName', report);
  reportDuplicates(value, path, 'guestMac', report, (mac) => mac.toLowerCase());
};
