import { createHash } from 'node:crypto';
import { type Egress, type EgressRule, type EgressTarget, parsePorts } from '../../config/egress.js';
import { type Cidr, formatAddress, parseCidr } from '../../util/cidr.js';
import { protectedSet } from './base.js';
import { type NftCommand, TABLE } from './nft.js';
import { namedBy, type ProtectedClass } from './ranges.js';

/** The two chains of a policy, which all guests that have it share: their names are a digest of what is in them. */
export interface CompiledEgress {
  /** For what this host routes. */
  readonly egress: string;
  /** For what goes to this host itself. */
  readonly host: string;
  readonly egressRules: readonly string[];
  readonly hostRules: readonly string[];
}

const FAMILIES = [4, 6] as const;
const DNS_PORT = 53;
const ICMP = '{ icmp, ipv6-icmp }';

/** A policy as chains of nftables. `dns` are the addresses of the guest's name servers. */
export function compileEgress(egress: Egress, dns: readonly string[]): CompiledEgress {
  const rules = rulesOf(egress);
  const egressRules = [...rules.flatMap((rule) => routedRules(rule, dns)), 'goto refuse'];
  const hostRules = [...rules.flatMap((rule) => localRules(rule, dns)), 'goto refuse'];
  const digest = createHash('sha256')
    .update(JSON.stringify([egressRules, hostRules]))
    .digest('hex')
    .slice(0, 16);
  return { egress: `egress-${digest}`, host: `host-${digest}`, egressRules, hostRules };
}

/** The commands that make a policy's chains. Idempotent. */
export function policyChains(policy: CompiledEgress): NftCommand[] {
  return [...chain(policy.egress, policy.egressRules), ...chain(policy.host, policy.hostRules)];
}

function chain(name: string, rules: readonly string[]): NftCommand[] {
  const target = `inet ${TABLE} ${name}`;
  return [`add chain ${target}`, `flush chain ${target}`, ...rules.map((rule) => `add rule ${target} ${rule}`)];
}

function rulesOf(egress: Egress): readonly EgressRule[] {
  if (egress === 'none') {
    return [];
  }
  return egress === 'internet' ? [{ action: 'allow', to: 'dns' }, { action: 'allow' }] : egress;
}

/** A rule for what this host routes. */
function routedRules(rule: EgressRule, dns: readonly string[]): string[] {
  const to = targetOf(rule);
  if (to === 'host') {
    return [];
  }
  if (to === 'dns') {
    return dnsRules(rule, dns);
  }
  if (to === 'any') {
    return statements(rule, []);
  }
  const range = parseCidr(to);
  if (range) {
    return statements(rule, [match(range.family, prefix(range)), ...exceptions(rule, range)]);
  }
  return FAMILIES.flatMap((family) => statements(rule, named(rule, to as EgressTarget, family)));
}

/** A rule for what goes to this host: only one that says so opens it, or one that names that very address. */
function localRules(rule: EgressRule, dns: readonly string[]): string[] {
  const to = targetOf(rule);
  if (to === 'host' || to === 'any') {
    return statements(rule, []);
  }
  if (to === 'dns') {
    return dnsRules(rule, dns);
  }
  if (to === 'multicast') {
    return FAMILIES.flatMap((family) => statements(rule, named(rule, to, family)));
  }
  const range = parseCidr(to);
  const names = range && (rule.action === 'deny' || range.prefix === (range.family === 4 ? 32 : 128));
  return names ? statements(rule, [match(range.family, prefix(range))]) : [];
}

function targetOf({ action, to }: EgressRule): string {
  return to ?? (action === 'allow' ? 'internet' : 'any');
}

function named({ action }: EgressRule, to: EgressTarget, family: 4 | 6): string[] {
  if (to === 'internet') {
    return [match(family, `!= @${protectedSet('protected', family)}`)];
  }
  const within = match(family, `@${protectedSet(to as ProtectedClass, family)}`);
  return to === 'metadata' || action === 'deny'
    ? [within]
    : [within, match(family, `!= @${protectedSet('metadata', family)}`)];
}

/** What a range does not open, for it does not name it. */
function exceptions({ action }: EgressRule, { family, ...range }: Cidr): string[] {
  const names = namedBy({ family, ...range });
  if (action === 'deny' || names.includes('metadata')) {
    return [];
  }
  return [match(family, `!= @${protectedSet(names.length > 0 ? 'metadata' : 'protected', family)}`)];
}

function dnsRules(rule: EgressRule, dns: readonly string[]): string[] {
  const servers = dns.map((address) => parseCidr(address)).filter((server) => server !== undefined);
  return FAMILIES.flatMap((family) => {
    const set = servers.filter((server) => server.family === family).map(formatAddress);
    return set.length === 0 ? [] : statements({ ...rule, ports: [DNS_PORT] }, [match(family, `{ ${set.join(', ')} }`)]);
  });
}

/** The statements of one rule: ports are those of a protocol, and there are two that have some. */
function statements({ action, protocol, ports }: EgressRule, where: readonly string[]): string[] {
  const end = `goto ${action === 'allow' ? 'allowed' : 'refuse'}`;
  const statement = (...parts: readonly string[]) => [...parts, ...where, end].join(' ');
  if (protocol === 'icmp') {
    return [statement(`meta l4proto ${ICMP}`)];
  }
  if (protocol === undefined && ports === undefined) {
    return [statement()];
  }
  const protocols = protocol === undefined ? ['tcp', 'udp'] : [protocol];
  const exact = protocols.flatMap((name) => portsOf(ports).map((port) => statement(`meta l4proto ${name}`, ...port)));
  // An error about a flow is of another protocol than the flow, where nft cannot ask for the flow's ports.
  const errors = protocols.map((name) => statement(`ct state related meta l4proto ${ICMP} ct protocol ${name}`));
  return action === 'allow' || ports === undefined ? [...exact, ...errors] : exact;
}

/** Where the first packet of the flow went, before any translation. */
function match(family: 4 | 6, range: string): string {
  return `ct original ${family === 4 ? 'ip' : 'ip6'} daddr ${range}`;
}

function prefix(range: Cidr): string {
  return `${formatAddress(range)}/${range.prefix}`;
}

/** One statement's part a range: nft lists a set of a flow's ports so that it cannot read it back. */
function portsOf(ports: EgressRule['ports']): string[][] {
  return ports === undefined ? [[]] : ports.map((port) => [`ct original proto-dst ${portRange(port)}`]);
}

function portRange(port: number | string): string {
  const [first, last] = parsePorts(port) ?? [0, 0];
  return first === last ? String(first) : `${first}-${last}`;
}
