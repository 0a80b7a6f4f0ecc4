import { createPrivateKey, createPublicKey, randomBytes } from 'node:crypto';

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
  const [client, host] = [generateKeyPair(), generateKeyPair()];
  return {
    clientKey: client.privateKey,
    clientPublicKey: `ssh-ed25519 ${client.publicKey}`,
    hostKey: host.privateKey,
    hostPublicKey: host.publicKey,
    seed: randomBytes(64).toString('base64'),
  };
}

/** PKCS #8 of an Ed25519 key up to its 32 bytes (RFC 8410, section 7). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

/**
 * An Ed25519 pair in OpenSSH's forms, from 32 random bytes (RFC 8032, section 5.1.5). ssh2 1.17 writes a key that begins with
 * a zero byte, one in 256, too short; and Node 20 can lock up for good when it exports what its generateKeyPair() made: the
 * export holds the key's mutex, and the garbage collector, run by it, waits for the same one to free the generator.
 */
function generateKeyPair(): { privateKey: string; publicKey: string } {
  const secret = randomBytes(32);
  const pkcs8 = Buffer.concat([PKCS8_PREFIX, secret]);
  const key = createPublicKey(createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }));
  const point = key.export({ format: 'der', type: 'spki' }).subarray(-32);
  const publicKey = Buffer.concat([field('ssh-ed25519'), field(point)]);
  return {
    privateKey: openSshPrivateKey(publicKey, Buffer.concat([secret, point])),
    publicKey: publicKey.toString('base64'),
  };
}

/** @see https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.key */
function openSshPrivateKey(publicKey: Buffer, secret: Buffer): string {
  const check = randomBytes(4);
  const content = Buffer.concat([check, check, publicKey, field(secret), field('')]);
  const padding = Buffer.from([1, 2, 3, 4, 5, 6, 7]).subarray(0, -content.length & 7);
  const key = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    ...[field('none'), field('none'), field(''), number(1)], // cipher, key derivation and its options, number of keys
    field(publicKey),
    field(Buffer.concat([content, padding])),
  ]);
  const lines = key.toString('base64').replace(/.{70}(?=.)/g, '$&\n');
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines}\n-----END OPENSSH PRIVATE KEY-----\n`;
}

/** SSH's `string`: its length, then its bytes. */
function field(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value as string);
  return Buffer.concat([number(bytes.length), bytes]);
}

function number(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
