import type { NetworkInspection } from '../../network/networks.js';
import { SmartVM } from '../../smartvm.js';
import { parseFormat, renderRows } from '../vms/format.js';
import { printLines } from '../vms/output.js';
import { SGR, styleOf } from '../vms/style.js';
import type { Column } from '../vms/table.js';
import { egressInWords } from './egress.js';

/** A network as `network ls` shows it; what there is not is null. */
interface NetworkRow {
  readonly name: string;
  readonly mode: string;
  readonly ipv4: string;
  readonly ipv6: string | null;
  readonly bridge: string;
  /** In the words of `--egress`. */
  readonly egress: string;
  readonly isolated: boolean;
  /** Whether anything of it is on the host. */
  readonly state: 'up' | 'down';
  readonly vms: number;
}

const MAX_EGRESS = 40;

const COLUMNS: readonly Column<NetworkRow>[] = [
  { title: 'NAME', text: ({ name }) => name },
  { title: 'MODE', text: ({ mode }) => mode },
  { title: 'IPV4', text: ({ ipv4 }) => ipv4 },
  { title: 'IPV6', text: ({ ipv6 }) => ipv6 ?? '-' },
  {
    title: 'EGRESS',
    text: ({ egress }) => (egress.length > MAX_EGRESS ? `${egress.slice(0, MAX_EGRESS - 1)}…` : egress),
  },
  { title: 'VMS', text: ({ vms }) => String(vms), right: true },
  { title: 'STATE', text: ({ state }) => state, color: ({ state }) => (state === 'up' ? SGR.green : SGR.dim) },
];

/** Prints the networks and gives the exit code. @throws SmartVMError INVALID_OPTION */
export async function listNetworks({ format, quiet }: { format?: string; quiet?: boolean }): Promise<number> {
  const rowFormat = parseFormat(format);
  const { networks } = new SmartVM();
  const names = (await networks.list()).map(({ name }) => name);
  if (quiet) {
    return await printLines(names);
  }
  const rows = (await Promise.all(names.map((name) => networks.inspect(name)))).map(rowOf);
  return await printLines(renderRows(rowFormat, COLUMNS, rows, styleOf(process.stdout)));
}

function rowOf({ definition, isUp, attachments }: NetworkInspection): NetworkRow {
  const { name, mode, ipv4, ipv6, bridge, egress, isolated } = definition;
  return {
    ...{ name, mode, ipv4, bridge, isolated },
    ipv6: ipv6 ?? null,
    egress: egressInWords(egress),
    state: isUp ? 'up' : 'down',
    vms: new Set(attachments.map(({ holder }) => holder.runtimeDir)).size,
  };
}
