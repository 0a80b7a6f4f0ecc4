import { assertOptions } from '../../config/validation/assert-options.js';
import { type Check, integer, isRecord, object, text } from '../../config/validation/checks.js';
import { SmartVMError } from '../../errors.js';

/** A TCP port in the guest. */
export interface GuestTcpAddress {
  /** 1 to 65535. */
  readonly port: number;
  /** A name or address as the guest knows it. Default `localhost`: its loopback, of IPv4 or IPv6. */
  readonly host?: string | undefined;
}

/** A Unix socket in the guest. */
export interface GuestUnixAddress {
  /** Absolute, 107 bytes at most. */
  readonly path: string;
}

export type GuestAddress = GuestTcpAddress | GuestUnixAddress;

export const MAX_PORT = 65_535;
export const LOOPBACK = 'localhost';

export const hostText = text({ maxBytes: 255 });
/** As Linux has it for `sun_path`, in the guest too. */
export const pathText: Check = (value, path, report) => {
  text({ maxBytes: 107 })(value, path, report);
  if (typeof value === 'string' && !value.startsWith('/')) {
    report(path, 'must be an absolute path');
  }
};

const tcp = object<GuestTcpAddress>({ port: integer(1, MAX_PORT), host: hostText }, ['port']);
const unix = object<GuestUnixAddress>({ path: pathText }, ['path']);

/** An address of which a number is the port. @throws SmartVMError INVALID_OPTION */
export function guestAddress(address: number | GuestAddress): GuestAddress {
  const named: unknown = typeof address === 'number' ? { port: address } : address;
  assertOptions(isRecord(named) && 'path' in named ? unix : tcp, named, 'address');
  return named as GuestAddress;
}

/** For messages. */
export function formatGuestAddress(address: GuestAddress): string {
  if ('path' in address) {
    return address.path;
  }
  const { host = LOOPBACK, port } = address;
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** The error for an address at which nothing in the guest answers. */
export function unreachable(address: GuestAddress, cause: unknown): SmartVMError {
  const why = (cause as Error).message.replace(/^\(SSH\) Channel open failure: /, '');
  return new SmartVMError('PORT_UNREACHABLE', `${formatGuestAddress(address)} in the guest: ${why}`, {
    cause,
    details: { ...address },
  });
}
