import { isIPv4 } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { isValidResourceId, RESOURCE_ID_RULE } from '../ids.js';
import type { IMmdsConfig } from '../types.js';
import {
  type Check,
  flag,
  isRecord,
  list,
  object,
  oneOf,
  type Report,
  recordsOf,
  rule,
  type UnknownRecord,
} from './checks.js';

/** RFC 3927 keeps the first and the last 256 addresses of 169.254.0.0/16 back. */
function isLinkLocal(address: string): boolean {
  return isIPv4(address) && /^169\.254\.(?!0\.|255\.)/.test(address);
}

/** What JSON.stringify() would drop or change without a word, the guest would look for in vain. */
export const contents: Check = (value, path, report) => {
  if (!isRecord(value)) {
    report(path, 'must be an object');
  } else if (!isJson(value)) {
    report(path, 'must hold nothing but JSON values');
  }
};

function isJson(value: unknown): boolean {
  try {
    return isDeepStrictEqual(JSON.parse(JSON.stringify(value)), value);
  } catch {
    return false; // a BigInt, or an object that holds itself
  }
}

export const mmds = object<IMmdsConfig>(
  {
    version: oneOf('V1', 'V2'),
    networkInterfaces: list(rule(isValidResourceId, RESOURCE_ID_RULE), 1),
    ipv4Address: rule(isLinkLocal, 'must be an IPv4 address from 169.254.1.0 to 169.254.254.255'),
    imdsCompat: flag,
    contents,
  },
  ['networkInterfaces'],
);

/** The metadata service is reached through interfaces that the VM has. */
export function reportMissingMmdsInterfaces(config: UnknownRecord, report: Report): void {
  const names = isRecord(config.mmds) ? config.mmds.networkInterfaces : undefined;
  if (!Array.isArray(names)) {
    return;
  }
  const existing = new Set(recordsOf(config.networkInterfaces).map(([, record]) => record.ifaceId));
  for (const [index, name] of names.entries()) {
    if (isValidResourceId(name) && !existing.has(name)) {
      report(`mmds.networkInterfaces[${index}]`, `must be the ifaceId of a network interface, '${name}' is not`);
    }
  }
}
