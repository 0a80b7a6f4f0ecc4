import { createHash } from 'node:crypto';
import { interfaceName } from './nft.js';

/** Before the rule of the main table (32766), and behind those that VPN clients put in. */
const RULE_PRIORITY = 30_000;
/** Our routing tables: 65,536 of them, from a number that no distribution and no other program's manual uses. */
const FIRST_TABLE = 0x5356_0000;
const UNREACHABLE_METRIC = 0x7fff_ffff;

/** The routing table of a network that leaves by an interface of its own. Two bridges in 65,536 have the same: it is checked by its user. */
export function viaTable(bridge: string): number {
  return FIRST_TABLE + createHash('sha256').update(bridge).digest().readUInt16BE();
}

/**
 * Lines of `ip -4 -batch -` and of `ip -6 -batch -`, each to be run by both, that let a bridge's traffic leave by one interface of the
 * host alone. The table's last route leads nowhere: when the interface goes, so does the route by it, and nothing takes another way.
 * Idempotent; to be run again when the interface is back.
 * @param gateway the next hop, of that family, where the interface is no tunnel
 * @throws SmartVMError INVALID_INTERFACE_NAME
 */
export function viaRoutes(bridge: string, via: string, gateway?: string): string[] {
  interfaceName(via);
  const table = viaTable(bridge);
  const hop = gateway === undefined ? '' : `via ${gateway} `;
  return [
    `route replace unreachable default metric ${UNREACHABLE_METRIC} table ${table}`,
    `route replace default ${hop}dev ${via} metric 1 table ${table}`,
  ];
}

/** The line that leads a bridge's traffic to the table, to be run behind {@link viaRoutes}: it fails where it has been run already. */
export function viaRule(bridge: string): string {
  return rule('add', bridge);
}

/** What undoes both. A line fails where there is nothing to undo: `ip -force` goes on behind it. */
export function viaRemoval(bridge: string): string[] {
  return [rule('delete', bridge), `route flush table ${viaTable(bridge)}`];
}

function rule(verb: 'add' | 'delete', bridge: string): string {
  interfaceName(bridge);
  return `rule ${verb} iif ${bridge} lookup ${viaTable(bridge)} priority ${RULE_PRIORITY}`;
}
