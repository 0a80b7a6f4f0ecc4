import type { MmdsConfig } from '../api/device-bodies.js';
import { Fault } from '../fault.js';

const DEFAULT_ADDRESS = '169.254.169.254';
/** RFC 3927 keeps the first and the last 256 addresses of the link-local block. */
const LINK_LOCAL = /^169\.254\.(?!(?:0|255)\.)/;

/**
 * The address at which the interfaces of a configuration answer for the MMDS.
 * @param interfaces the ids of the interfaces that there are
 * @throws Fault
 */
export function checkMmdsNetwork(config: MmdsConfig, interfaces: readonly string[]): string {
  const address = config.ipv4_address ?? DEFAULT_ADDRESS;
  if (!LINK_LOCAL.test(address)) {
    throw refusal('The MMDS IPv4 address is not link local.');
  }
  if (config.network_interfaces.length === 0) {
    throw refusal('The list of network interface IDs that allow forwarding MMDS requests is empty.');
  }
  if (!config.network_interfaces.every((id) => interfaces.includes(id))) {
    throw refusal(
      'The list of network interface IDs provided contains at least one ID that does not correspond to any existing network interface.',
    );
  }
  return address;
}

/** The third M is Firecracker's. */
const refusal = (reason: string) => new Fault(`MMMDS config error: ${reason}`);
