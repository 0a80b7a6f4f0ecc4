import { MAX_SOCKET_PATH_BYTES } from '../../util/socket-path.js';
import type { IVsockConfig } from '../types.js';
import { integer, isRecord, object, type Report, recordsOf, text, type UnknownRecord } from './checks.js';

/** VMADDR_CID_HYPERVISOR, _LOCAL and _HOST are 0 to 2, VMADDR_CID_ANY is 2^32 - 1 (linux/vm_sockets.h). */
const MIN_GUEST_CID = 3;
const MAX_GUEST_CID = 2 ** 32 - 2;

/** A connection that the guest opens to a port of up to five digits arrives at `<udsPath>_<port>`. */
const MAX_UDS_PATH_BYTES = MAX_SOCKET_PATH_BYTES - '_65535'.length;

export const vsock = object<IVsockConfig>(
  { guestCid: integer(MIN_GUEST_CID, MAX_GUEST_CID), udsPath: text({ maxBytes: MAX_UDS_PATH_BYTES }) },
  ['guestCid', 'udsPath'],
);

/** The VMM makes the vsock socket; a vhost-user backend has made its own: one path cannot be both. */
export function reportSharedSocket(config: UnknownRecord, report: Report): void {
  const udsPath = isRecord(config.vsock) ? config.vsock.udsPath : undefined;
  for (const [index, record] of recordsOf(config.drives)) {
    if (udsPath !== undefined && record.socket === udsPath) {
      report(`drives[${index}].socket`, 'must differ from vsock.udsPath');
    }
  }
}
