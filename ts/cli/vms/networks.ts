import { existsSync, readdirSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import type { PublishedPort } from '../../config/publish.js';
import { type AttachmentRecord, hostFolders, readJson } from '../../network/host-state.js';

/** What VMs have in networks, by their directories. */
export function attachmentsByVm(): ReadonlyMap<string, readonly AttachmentRecord[]> {
  const folder = hostFolders().attachments;
  const files = existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith('.json')) : [];
  const found = new Map<string, AttachmentRecord[]>();
  for (const record of files.flatMap((file) => readJson<AttachmentRecord>(`${folder}/${file}`) ?? [])) {
    const { runtimeDir } = record.holder;
    found.set(runtimeDir, [...(found.get(runtimeDir) ?? []), record]);
  }
  for (const records of found.values()) {
    records.sort(({ attachment: a }, { attachment: b }) => a.ifaceId.localeCompare(b.ifaceId, 'en', { numeric: true }));
  }
  return found;
}

/** As Docker says it: `127.0.0.1:5432->5432/tcp`; without an address where the port is at all of the host's. */
export function portsInWords(ports: readonly PublishedPort[]): string {
  return ports
    .map(({ hostIp, hostPort, guestPort, protocol }) => {
      const address = hostIp === undefined ? '' : isIPv6(hostIp) ? `[${hostIp}]:` : `${hostIp}:`;
      return `${address}${hostPort}->${guestPort}/${protocol}`;
    })
    .join(', ');
}

/** What `inspect` says of a VM's networks: fields that may be absent are null. */
export function networkDetails({ attachment, definition, egress, ports }: AttachmentRecord): object {
  const { network, ifaceId, tapName, mac, ipv4, ipv6, prefixes, gateways, dns, mtu } = attachment;
  return {
    ...{ network, mode: definition.mode, ifaceId, tapName, mac, mtu },
    ipv4: ipv4 ?? null,
    ipv4Prefix: prefixes.ipv4 ?? null,
    ipv4Gateway: gateways.ipv4 ?? null,
    ipv6: ipv6 ?? null,
    ipv6Prefix: prefixes.ipv6 ?? null,
    ipv6Gateway: gateways.ipv6 ?? null,
    ...{ dns, egress, ports },
  };
}
