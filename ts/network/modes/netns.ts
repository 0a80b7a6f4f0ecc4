import type { NetworkAttachment } from '../../config/network.js';
import { run } from '../../util/run.js';
import type { AttachmentRecord } from '../host-state.js';
import { plumbingError, runIp } from '../plumbing/ip.js';
import { linkDown, portUp } from '../plumbing/lines.js';
import { linkLocal } from '../policy/elements.js';
import { planAttachment } from './bridged.js';
import type { Strategy } from './strategy.js';

/** What every VM has in its own namespace, so that one that is started from another's snapshot need not be told of a change. */
const INSIDE = {
  tapName: 'svtap0',
  mac: '02:00:00:00:00:02',
  ipv4: '172.29.255.2',
  ipv6: 'fd00:172:29:255::2',
  prefixes: { ipv4: 30, ipv6: 64 },
  gateways: { ipv4: '172.29.255.1', ipv6: 'fd00:172:29:255::1' },
  /** By which a guest out of a snapshot still knows its gateway. */
  gatewayMac: '02:00:00:00:00:01',
  /** Of the namespace's end, by which its kernel asks for the guest's MAC. */
  linkLocal: 'fe80::1',
};
const UPLINK = 'eth0';

/**
 * A namespace a VM: its TAP is there, and a pair of links between it and the network's bridge. The namespace has the address that the
 * network gave, and translates it one to one.
 */
export const netnsMode: Strategy = {
  hasInterface: true,
  isOfHost: true,
  ownsBridge: true,
  plan: async (request) => {
    const wire = await planAttachment(request);
    const { tapName, mac, ipv4, ipv6, prefixes, gateways } = INSIDE;
    const hasIpv6 = wire.ipv6 !== undefined;
    const attachment: NetworkAttachment = {
      ...{ ...wire, tapName, mac, ipv4 },
      ipv6: hasIpv6 ? ipv6 : undefined,
      prefixes: { ipv4: prefixes.ipv4, ipv6: hasIpv6 ? prefixes.ipv6 : undefined },
      gateways: { ipv4: gateways.ipv4, ipv6: hasIpv6 ? gateways.ipv6 : undefined },
    };
    return { attachment, wire, namespace: wire.tapName };
  },
  up: ({ definition: { bridge, isolated }, wire: { tapName, mac, mtu }, namespace }) => [
    `netns add ${namespace}`,
    `link add name ${tapName} mtu ${mtu} type veth peer name ${UPLINK} address ${mac} mtu ${mtu} netns ${namespace}`,
    ...portUp(tapName, mtu, { bridge, isolated }),
  ],
  upInside: async (record, signal) => {
    const { namespace } = record;
    await runIp(insideLines(record), { namespace, signal });
    const inside = (tool: string, args: string[], input: string) =>
      run('ip', ['netns', 'exec', namespace ?? '', tool, ...args], { input, signal }).catch((error) => {
        throw plumbingError(error);
      });
    await inside('sysctl', ['-q', '-w', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'], '');
    await inside('nft', ['-f', '-'], translation(record.wire));
  },
  down: ({ wire, namespace }) => [...linkDown(wire.tapName), `netns delete ${namespace}`],
  hostDevName: () => INSIDE.tapName,
};

function insideLines({ wire, attachment, multiQueue }: AttachmentRecord): string[] {
  const { tapName } = INSIDE;
  const hasIpv6 = wire.ipv6 !== undefined;
  return [
    'link set dev lo up',
    `addr add ${wire.ipv4}/${wire.prefixes.ipv4} dev ${UPLINK}`,
    `link set dev ${UPLINK} up`,
    ...(hasIpv6 ? [`addr add ${wire.ipv6}/${wire.prefixes.ipv6} dev ${UPLINK} nodad`] : []),
    // Without an owner: whoever is in the namespace may open it, and nobody but the VMM is.
    `tuntap add dev ${tapName} mode tap vnet_hdr${multiQueue ? ' multi_queue' : ''}`,
    `link set dev ${tapName} address ${INSIDE.gatewayMac} mtu ${wire.mtu} addrgenmode none up`,
    `addr add ${attachment.gateways.ipv4}/${attachment.prefixes.ipv4} dev ${tapName}`,
    `route add default via ${wire.gateways.ipv4} dev ${UPLINK}`,
    ...(hasIpv6
      ? [
          `addr add ${attachment.gateways.ipv6}/${attachment.prefixes.ipv6} dev ${tapName} nodad`,
          `addr add ${INSIDE.linkLocal}/64 dev ${tapName} nodad`,
          `route add default via ${wire.gateways.ipv6} dev ${UPLINK}`,
        ]
      : []),
  ];
}

/**
 * All that goes out is the guest's own and has the network's address, all that comes in goes to the guest; the namespace itself answers
 * nobody. What the guest may reach, the host's rules say, which know it by the network's address.
 */
function translation({ ipv4, ipv6 }: NetworkAttachment): string {
  const families = [
    { name: 'ip', outer: ipv4, inner: INSIDE.ipv4, own: INSIDE.ipv4 },
    ...(ipv6 === undefined
      ? []
      : [{ name: 'ip6', outer: ipv6, inner: INSIDE.ipv6, own: `{ ${INSIDE.ipv6}, ${linkLocal(INSIDE.mac)}, :: }` }]),
  ];
  const rules = (rule: (family: (typeof families)[number]) => string) => families.map(rule).join('; ');
  return `table inet smartvm {
    chain wire { type filter hook prerouting priority raw
      iifname "${INSIDE.tapName}" ether saddr != ${INSIDE.mac} counter drop
      ${rules(({ name, own }) => `iifname "${INSIDE.tapName}" ${name} saddr != ${own} counter drop`)}
    }
    chain in { type nat hook prerouting priority dstnat
      ${rules(({ name, inner }) => `iifname "${UPLINK}" dnat ${name} to ${inner}`)}
    }
    chain out { type nat hook postrouting priority srcnat
      ${rules(({ name, outer }) => `oifname "${UPLINK}" snat ${name} to ${outer}`)}
    }
    chain self { type filter hook input priority filter
      iifname "${INSIDE.tapName}" icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
      iifname "${UPLINK}" icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept
      iifname { "${INSIDE.tapName}", "${UPLINK}" } drop
    }
  }
`;
}
