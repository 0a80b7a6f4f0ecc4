import type { FrameDrop } from '../../config/network-events.js';
import { PROTECTED, type ProtectedClass, rangesOf, widest } from './ranges.js';

/** How long a refused destination is remembered after the last attempt. */
export const REFUSED_TIMEOUT_S = 600;
/** Refused destinations that are remembered, of all guests together: the others are counted alone. */
const MAX_REFUSED = 16_384;

/** Why a frame of a guest is dropped on its wire: sets of ports that count what they match. */
export const FRAME_DROPS = [
  'bad_mac',
  'bad_ip',
  'bad_arp',
  'bad_nd',
  'bad_type',
  'isolated',
] as const satisfies readonly FrameDrop[];

const FAMILIES = [4, 6] as const;

/** The set that has the ranges of a class. */
export function protectedSet(name: ProtectedClass | 'protected', family: 4 | 6): string {
  return `${name.replace('-', '_')}${family}`;
}

const BRIDGE_SETS = `
table bridge smartvm {
  set ports { type ifname; }
  set unaddressed { type ifname; }
  set macs { type ifname . ether_addr; }
  set senders { type ifname . ether_addr . ipv4_addr; }
  set sources4 { type ifname . ipv4_addr; }
  set sources6 { type ifname . ipv6_addr; }
  set targets6 { typeof iifname . @th,64,128; }
  ${FRAME_DROPS.map((name) => `set ${name} { type ifname; counter; }`).join('\n  ')}
}
`;

/**
 * Before the bridge learns an address from a frame: what comes from a guest bears that guest's addresses. In ARP and neighbour discovery
 * too, also where extension headers stand before it; fragments of it (RFC 6980) are none that a host may take.
 */
const BRIDGE_CHAINS = `
table bridge smartvm {
  chain drop_mac {
    iifname @bad_mac drop
    drop
  }
  chain drop_ip {
    iifname @bad_ip drop
    drop
  }
  chain drop_arp {
    iifname @bad_arp drop
    drop
  }
  chain drop_nd {
    iifname @bad_nd drop
    drop
  }
  chain drop_type {
    iifname @bad_type drop
    drop
  }

  chain from_guest_arp {
    arp htype != 1 goto drop_arp
    arp ptype != ip goto drop_arp
    arp operation != { request, reply } goto drop_arp
    iifname . arp saddr ether . arp saddr ip @senders accept
    arp operation request arp saddr ip 0.0.0.0 iifname . arp saddr ether @macs iifname . arp daddr ip @sources4 accept
    iifname @unaddressed iifname . arp saddr ether @macs accept
    goto drop_arp
  }
  chain from_guest_ip6 {
    icmpv6 type { nd-router-advert, nd-redirect } goto drop_nd
    exthdr frag exists icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } goto drop_nd
    iifname @unaddressed accept
    icmpv6 type nd-neighbor-advert iifname . @th,64,128 != @targets6 goto drop_nd
    iifname . ip6 saddr @sources6 accept
    ip6 saddr :: icmpv6 type nd-neighbor-solicit iifname . @th,64,128 @targets6 accept
    ip6 saddr :: icmpv6 type { mld-listener-report, mld2-listener-report } accept
    goto drop_ip
  }
  chain from_guest {
    ether daddr & ff:ff:ff:ff:ff:f0 == 01:80:c2:00:00:00 goto drop_type
    iifname . ether saddr != @macs goto drop_mac
    ether type arp goto from_guest_arp
    ether type ip6 goto from_guest_ip6
    ether type != ip goto drop_type
    iifname . ip saddr @sources4 accept
    iifname @unaddressed accept
    goto drop_ip
  }
  chain prerouting {
    type filter hook prerouting priority -300; policy accept;
    iifname @ports goto from_guest
  }
  chain input {
    type filter hook input priority -200; policy accept;
    iifname @ports ether daddr & ff:ff:ff:ff:ff:f0 == 01:80:c2:00:00:00 goto drop_type
  }
  chain forward {
    type filter hook forward priority -200; policy accept;
    oifname @isolated iifname @isolated drop
  }
}
`;

const INET_SETS = `
table inet smartvm {
  set bridges { type ifname; }
  set open { type ifname . ifname; }
  set via { type ifname . ifname; }
  set via_only { type ifname; }
  ${FAMILIES.map(setsOf).join('\n  ')}
}
`;

/**
 * Packets that this host routes, and those to and from itself. A guest's policy is asked for every packet of a flow, in both
 * directions, by where the flow's first packet went: what is no longer allowed ends at once.
 */
const INET_CHAINS = `
table inet smartvm {
  chain refuse {
    ct direction reply drop
    ${each((ip, family) => [
      `meta l4proto { tcp, udp, sctp } update @refused${family} { ${ip} saddr . ${ip} daddr . meta l4proto . th dport }`,
      `meta l4proto { icmp, ipv6-icmp } update @refused${family} { ${ip} saddr . ${ip} daddr . meta l4proto . th sport }`,
      `${ip} saddr @denied${family}`,
    ])}
    meta l4proto tcp reject with tcp reset
    reject with icmpx admin-prohibited
  }
  chain inbound {
    ${each((ip, family) => [
      `ct direction original ${ip} daddr . meta l4proto . th dport @inbound${family} accept`,
      `ct direction reply ${ip} saddr . meta l4proto . th sport @inbound${family} accept`,
    ])}
    ct state related meta l4proto { icmp, ipv6-icmp } accept
    drop
  }
  chain allowed {
    iifname @bridges oifname @bridges goto inbound
    accept
  }
  chain routed {
    iifname . oifname @open accept
    ct state invalid drop
    tcp flags syn tcp option maxseg size set rt mtu
    iifname @via_only iifname . oifname != @via goto refuse
    oifname @via_only oifname . iifname != @via goto refuse
    ${each((ip, family) => [`ct status dnat ct original ${ip} saddr vmap @host${family}`])}
    ${each((ip, family) => [`ct original ${ip} saddr vmap @egress${family}`])}
    goto inbound
  }
  chain to_host {
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
    icmpv6 type { nd-router-solicit, mld-listener-report, mld2-listener-report } drop
    meta l4proto 2 drop
    ct state invalid drop
    ct direction reply ct state established,related accept
    ${each((ip, family) => [`ct original ${ip} saddr vmap @host${family}`])}
    drop
  }
  chain from_host {
    ${each((ip, family) => [`ct original ${ip} saddr vmap @host${family}`])}
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname @bridges goto routed
    oifname @bridges goto routed
  }
  chain input {
    type filter hook input priority filter; policy accept;
    iifname @bridges goto to_host
  }
  chain output {
    type filter hook output priority filter; policy accept;
    oifname @bridges ct direction reply ct state established goto from_host
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    iifname @bridges return
    fib daddr type != local return
    ${each((ip, family) => [
      `dnat ${ip} to ${ip} daddr . meta l4proto . th dport map @published${family}`,
      `dnat ${ip} to meta l4proto . th dport map @published_any${family}`,
    ])}
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    oifname @bridges return
    ${each((ip, family) => [`${ip} saddr @nat${family} masquerade`])}
  }
}
`;

function each(rules: (ip: 'ip' | 'ip6', family: 4 | 6) => readonly string[]): string {
  return [...rules('ip', 4), ...rules('ip6', 6)].join('\n    ');
}

function setsOf(family: 4 | 6): string {
  const address = `ipv${family}_addr`;
  const refused = `type ${address} . ${address} . inet_proto . inet_service; flags dynamic,timeout`;
  return [
    `set nat${family} { type ${address}; flags interval; }`,
    `set denied${family} { type ${address}; counter; }`,
    `set refused${family} { ${refused}; timeout ${REFUSED_TIMEOUT_S}s; size ${MAX_REFUSED}; counter; }`,
    `set inbound${family} { type ${address} . inet_proto . inet_service; }`,
    `map egress${family} { type ${address} : verdict; }`,
    `map host${family} { type ${address} : verdict; }`,
    `map published${family} { type ${address} . inet_proto . inet_service : ${address} . inet_service; }`,
    `map published_any${family} { type inet_proto . inet_service : ${address} . inet_service; }`,
    ...protectedSets(family),
  ].join('\n  ');
}

/** A set of each class of protected addresses, and one of them all. */
function protectedSets(family: 4 | 6): string[] {
  const set = (name: string, ranges: readonly string[]) =>
    `set ${name} { type ipv${family}_addr; flags interval; elements = { ${ranges.join(', ')} }; }`;
  const classes = Object.keys(PROTECTED) as ProtectedClass[];
  return [
    ...classes.map((name) => set(protectedSet(name, family), rangesOf(name, family))),
    set(protectedSet('protected', family), widest(classes.flatMap((name) => rangesOf(name, family)))),
  ];
}

const CHAINS = BRIDGE_CHAINS + INET_CHAINS;

/** Chains are emptied and filled in one transaction: they have to be there before they can be emptied. */
export const BASE_RULESET = [
  BRIDGE_SETS,
  INET_SETS,
  CHAINS,
  ...flushes(BRIDGE_CHAINS, 'bridge'),
  ...flushes(INET_CHAINS, 'inet'),
  CHAINS,
].join('\n');

function flushes(table: string, family: 'bridge' | 'inet'): string[] {
  return [...table.matchAll(/^ {2}chain (\w+)/gm)].map(([, chain]) => `flush chain ${family} smartvm ${chain}`);
}
