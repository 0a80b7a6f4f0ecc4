import { SmartVMError } from '../errors.js';

/** The version of the contract between host and guest: see docs/guest-protocol.md. */
export const AGENT_PROTOCOL = 2;

/** What an agent says of itself before anything else: those of version 1 named none. */
export function protocolOf(software: string | undefined): number {
  const [, version = '1'] = /^SmartVM(?:_(\d{1,4}))?$/.exec(software ?? '') ?? [];
  return Number(version);
}

/** @throws SmartVMError AGENT_TOO_OLD */
export function assertProtocol(protocol: number, since: number, what: string): void {
  if (protocol < since) {
    throw new SmartVMError(
      'AGENT_TOO_OLD',
      `${what} needs an agent of protocol ${since}, the guest's speaks ${protocol}: it was started by an older release of SmartVM. Start the VM anew`,
      { details: { protocol, needed: since } },
    );
  }
}
