import type { NetworkInspection } from '../../network/networks.js';
import { SmartVM } from '../../smartvm.js';
import { printableJson } from '../printable.js';
import { forEach } from '../vms/each.js';
import { parseFormat, renderRows } from '../vms/format.js';
import { printLines } from '../vms/output.js';
import { styleOf } from '../vms/style.js';

/** Prints what is known of networks and gives the exit code. */
export async function inspectNetworks(names: readonly string[], format: string | undefined): Promise<number> {
  const rowFormat = parseFormat(format);
  const { networks } = new SmartVM();
  const found: object[] = [];
  const exitCode = await forEach(names, async (name) => {
    found.push(inspection(await networks.inspect(name)));
  });
  const lines =
    rowFormat.kind === 'table' ? [printableJson(found, 2)] : renderRows(rowFormat, [], found, styleOf(process.stdout));
  return (await printLines(lines)) || exitCode;
}

/** Fields that may be absent are null, so that templates can name them. */
function inspection({ definition, isUp, attachments }: NetworkInspection): object {
  const { gateway, ipv6, mtu, dns, via } = definition;
  return {
    ...definition,
    ...{ gateway: gateway ?? null, ipv6: ipv6 ?? null, mtu: mtu ?? null, dns: dns ?? null, via: via ?? null },
    state: isUp ? 'up' : 'down',
    vms: attachments.map(({ holder, attachment, egress, ports }) => ({
      ...{ id: holder.id, runtimeDir: holder.runtimeDir, ifaceId: attachment.ifaceId },
      ...{ tapName: attachment.tapName, mac: attachment.mac },
      ...{ ipv4: attachment.ipv4 ?? null, ipv6: attachment.ipv6 ?? null },
      ...{ egress, ports },
    })),
  };
}
