import { randomBytes } from 'node:crypto';

/** The keys of one VM: the agent takes only the client's, the client only the host's. */
export interface VmKeys {
  /** OpenSSH private key of the client, kept on the host. */
  readonly clientKey: string;
  /** The client's public key, as a line of `authorized_keys`. */
  readonly clientPublicKey: string;
  /** OpenSSH private key of the guest's SSH server. */
  readonly hostKey: string;
  /** The guest's public key, as the wire has it in base64 (the second field of a `known_hosts` line). */
  readonly hostPublicKey: string;
  /** Base64 of 64 bytes for the guest's random pool. */
  readonly seed: string;
}

/** Makes the keys of a VM (two Ed25519 pairs, under a millisecond). */
export async function generateVmKeys(): Promise<VmKeys> {
  const { utils } = (await import('ssh2')).default;
  const client = utils.generateKeyPairSync('ed25519');
  const host = utils.generateKeyPairSync('ed25519');
  return {
    clientKey: client.private,
    clientPublicKey: client.public,
    hostKey: host.private,
    hostPublicKey: host.public.split(' ')[1] ?? '',
    seed: randomBytes(64).toString('base64'),
  };
}
