import { isRecord } from '../../config/validation/checks.js';
import { parseSafeJson } from '../../util/safe-json.js';

/** Names of all bridges of SmartVM's networks begin so. */
export const BRIDGE_PREFIX = 'svb';
const OWN_TABLE = 'smartvm';

/** A chain of somebody else's through which forwarded packets go and that drops what it does not know. */
export interface Dropping {
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  /** Whose it seems to be. */
  readonly firewall: 'docker' | 'ufw' | 'firewalld' | 'other';
}

interface Chain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly hook?: string | undefined;
  readonly policy?: string | undefined;
}

/**
 * The chains that keep VMs from the world, whatever SmartVM's own rules say: of all chains at a hook, each has to let a packet pass.
 * One whose table speaks of SmartVM's bridges has been seen to.
 * @param listing of `nft -j list ruleset`
 */
export function droppingChains(listing: string): Dropping[] {
  const objects = objectsOf(listing);
  const chains = objects.flatMap(({ chain }) => (isChain(chain) ? [chain] : []));
  return chains
    .filter(({ hook, policy, table }) => hook === 'forward' && policy === 'drop' && table !== OWN_TABLE)
    .filter(({ family }) => ['ip', 'ip6', 'inet'].includes(family))
    .filter(({ family, table }) => !speaksOfBridges(objects, family, table))
    .map(({ family, table, name }) => ({ family, table, chain: name, firewall: firewallOf(chains, family, table) }));
}

function firewallOf(chains: readonly Chain[], family: string, table: string): Dropping['firewall'] {
  if (table === 'firewalld') {
    return 'firewalld';
  }
  const names = chains.filter((chain) => chain.family === family && chain.table === table).map(({ name }) => name);
  if (names.some((name) => /^ufw6?-/.test(name))) {
    return 'ufw';
  }
  return names.includes('DOCKER-USER') ? 'docker' : 'other';
}

/** What lets the VMs' packets pass. */
export function remedyFor({ firewall, family, table, chain }: Dropping): string {
  const bridges = `${BRIDGE_PREFIX}+`;
  switch (firewall) {
    case 'docker': {
      const iptables = family === 'ip6' ? 'ip6tables' : 'iptables';
      return `${iptables} -I DOCKER-USER -i ${bridges} -j ACCEPT; ${iptables} -I DOCKER-USER -o ${bridges} -j ACCEPT`;
    }
    case 'ufw':
      return `for each bridge (smartvm network ls): ufw route allow in on BRIDGE; ufw route allow out on BRIDGE`;
    case 'firewalld':
      return 'for each bridge (smartvm network ls): firewall-cmd --permanent --zone=trusted --add-interface=BRIDGE; firewall-cmd --reload';
    case 'other': {
      const rule = (side: string) => `nft insert rule ${family} ${table} ${chain} ${side} '"${BRIDGE_PREFIX}*"' accept`;
      return `${rule('iifname')}; ${rule('oifname')}`;
    }
  }
}

function speaksOfBridges(objects: readonly Record<string, unknown>[], family: string, table: string): boolean {
  return objects.some(({ rule }) => {
    const isOfTable = isRecord(rule) && rule.family === family && rule.table === table;
    return isOfTable && JSON.stringify(rule.expr ?? '').includes(`"${BRIDGE_PREFIX}`);
  });
}

function objectsOf(listing: string): Record<string, unknown>[] {
  if (listing.trim() === '') {
    return [];
  }
  const value = parseSafeJson(listing);
  const objects = isRecord(value) ? value.nftables : undefined;
  return Array.isArray(objects) ? objects.filter(isRecord) : [];
}

function isChain(value: unknown): value is Chain {
  return isRecord(value) && [value.family, value.table, value.name].every((field) => typeof field === 'string');
}
