import type { NetworkAttachment } from '../config/network.js';
import { errorsOf, integer, list, object, rule, text } from '../config/validation/checks.js';
import { SmartVMError } from '../errors.js';

/** A network interface as the agent is to set it up. */
export interface GuestInterface {
  /** By this it is found. */
  readonly mac: string;
  /** What the MAC address is to become: that of a guest out of a snapshot is still its twin's. */
  readonly newMac?: string | undefined;
  /** In CIDR notation, IPv4 and IPv6. */
  readonly addresses: readonly string[];
  /** Of default routes, at most one for each version of IP. */
  readonly gateways: readonly string[];
  /** Bytes. Default: what the device says. */
  readonly mtu?: number | undefined;
}

/** A guest's network: no DHCP client runs in it. */
export interface GuestNetwork {
  /** The gateways of the first are preferred. */
  readonly interfaces: readonly GuestInterface[];
  /** Addresses of name servers. */
  readonly dns: readonly string[];
}

export interface GuestNetworkChange {
  /** Default: as it is. */
  readonly hostname?: string | undefined;
  readonly network: GuestNetwork;
}

/** An interface as the guest has it. What comes from the guest is not to be trusted. */
export interface GuestInterfaceStatus {
  readonly name: string;
  readonly mac: string;
  readonly mtu: number;
  readonly addresses: readonly string[];
}

/** A part of a configuration that the guest could not bring about. */
export interface GuestNetworkProblem {
  /** MAC address; absent for what belongs to no interface. */
  readonly interface?: string | undefined;
  readonly what: string;
  readonly why: string;
}

interface Answer {
  readonly interfaces: readonly GuestInterfaceStatus[];
  readonly problems: readonly GuestNetworkProblem[];
}

/** What the agent is to make of all that a VM has of networks. */
export function guestNetworkOf(attachments: readonly NetworkAttachment[]): GuestNetwork {
  return {
    interfaces: attachments.map(({ mac, mtu, ipv4, ipv6, prefixes, gateways }) => ({
      mac,
      mtu,
      addresses: [
        ...(ipv4 === undefined ? [] : [`${ipv4}/${prefixes.ipv4 ?? 32}`]),
        ...(ipv6 === undefined ? [] : [`${ipv6}/${prefixes.ipv6 ?? 128}`]),
      ],
      gateways: [gateways.ipv4, gateways.ipv6].filter((gateway) => gateway !== undefined),
    })),
    dns: [...new Set(attachments.flatMap(({ dns }) => dns))],
  };
}

/**
 * What becomes of the network of a guest that came out of a snapshot, and has its twin's: interface by interface, in the order in
 * which the agent tells of them, which is that of the twin's networks.
 * @throws SmartVMError GUEST_NETWORK_FAILED where the twin had fewer
 */
export function renumbered(
  attachments: readonly NetworkAttachment[],
  twins: readonly GuestInterfaceStatus[],
): GuestNetwork {
  if (twins.length < attachments.length) {
    throw new SmartVMError(
      'GUEST_NETWORK_FAILED',
      `the VM is to be in ${attachments.length} networks, and the one of the snapshot was in ${twins.length}: ask for no more than that had`,
      { details: { networks: attachments.length, interfaces: twins.length } },
    );
  }
  const { interfaces, dns } = guestNetworkOf(attachments);
  const moved = interfaces.map((one, index) => ({ ...one, mac: twins[index]?.mac ?? one.mac, newMac: one.mac }));
  return { interfaces: moved, dns };
}

const word = text({ minBytes: 0, maxBytes: 4096 });
const answer = object<Answer>(
  {
    interfaces: list(
      object<GuestInterfaceStatus>(
        {
          name: rule((name) => name.length <= 15, 'must be the name of an interface'),
          mac: word,
          mtu: integer(0),
          addresses: list(word),
        },
        ['name', 'mac', 'mtu', 'addresses'],
      ),
    ),
    problems: list(object<GuestNetworkProblem>({ interface: word, what: word, why: word }, ['what', 'why'])),
  },
  ['interfaces', 'problems'],
);

/**
 * The interfaces that an agent tells of.
 * @throws SmartVMError GUEST_NETWORK_FAILED where it tells of problems; AGENT_FAILED for what is no such answer
 */
export function interfacesOf(value: unknown): readonly GuestInterfaceStatus[] {
  const errors = errorsOf(answer, value, 'answer');
  if (errors.length > 0) {
    throw new SmartVMError('AGENT_FAILED', `network failed in the guest: ${errors.slice(0, 4).join('; ')}`);
  }
  const { interfaces, problems } = value as Answer;
  if (problems.length > 0) {
    const all = problems.map(
      ({ interface: mac, what, why }) => `${mac === undefined ? '' : `${mac}: `}${what}: ${why}`,
    );
    throw new SmartVMError('GUEST_NETWORK_FAILED', `the guest could not set up its network: ${all.join('; ')}`, {
      details: { problems },
    });
  }
  return interfaces;
}
