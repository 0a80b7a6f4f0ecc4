import { quote } from '../../config/ids.js';
import { SmartVMError } from '../../errors.js';
import type { ForwardPortOptions } from '../../guest/ports/forward.js';

const SPEC = /^(?:(.*):)?(\/[^:]+|\d{1,5})$/;
const HOST = /^(?:(?:\[([^\]]+)\]|([\d.]+)):)?(\d{0,5})$/;

/**
 * The forwarding that a word of the command line means: `[[address:]port:]port` or with Unix sockets in place of ports, the host's side
 * first. Of one port alone the host's is the same; of none before a colon, any that is free.
 * @throws SmartVMError INVALID_OPTION
 */
export function parseForward(text: string, reverse: boolean): ForwardPortOptions {
  const [, host, guest = ''] = SPEC.exec(text) ?? [];
  const guestSide = guest.startsWith('/') ? { guestPath: guest } : { guestPort: Number(guest) };
  const hostSide = host === undefined ? { hostPort: guestSide.guestPort } : hostSideOf(host);
  if (guest === '' || !hostSide || (host === undefined && guestSide.guestPort === undefined)) {
    throw new SmartVMError(
      'INVALID_OPTION',
      `${quote(text)} is no pair of ports like '8080:80', '80', ':80', '[::1]:8080:80' or '/host.sock:/guest.sock'`,
    );
  }
  return { ...guestSide, ...hostSide, reverse };
}

function hostSideOf(host: string): ForwardPortOptions | undefined {
  if (host.startsWith('/')) {
    return { hostPath: host };
  }
  const [whole, ipv6, ipv4, port] = HOST.exec(host) ?? [];
  return whole === undefined ? undefined : { hostIp: ipv6 ?? ipv4, hostPort: Number(port) };
}
