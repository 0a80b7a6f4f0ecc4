import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { osErrorText } from '../fault.js';

/**
 * The state file of a snapshot, little endian: magic (8 bytes), version (u32), lengths of the configuration and of the devices'
 * state (u32 each), the configuration in JSON, the state of the devices as QEMU writes it, SHA-256 of all before it (32 bytes).
 */
const MAGIC = Buffer.from('SMARTVM\0');
const VERSION_OFFSET = MAGIC.length;
const CONFIG_LENGTH_OFFSET = VERSION_OFFSET + 4;
const DEVICES_LENGTH_OFFSET = CONFIG_LENGTH_OFFSET + 4;
const HEADER_BYTES = DEVICES_LENGTH_OFFSET + 4;
const CHECKSUM_BYTES = 32;
/** Firecracker's own limit. */
const MAX_BYTES = 10_000_000;

/** The major version of the format; another one is not read. */
const VERSION = 1;
export const SNAPSHOT_VERSION = `${VERSION}.0.0`;

interface StateFile {
  readonly config: unknown;
  readonly devices: Buffer;
}

/** A state file is missing, or is none; `message` is Firecracker's, with the reason it has for such a file of its own. */
export class StateFileError extends Error {
  override readonly name = 'StateFileError';
}

export function encodeState({ config, devices }: StateFile): Buffer {
  const json = Buffer.from(JSON.stringify(config));
  const header = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(header);
  header.writeUInt32LE(VERSION, VERSION_OFFSET);
  header.writeUInt32LE(json.length, CONFIG_LENGTH_OFFSET);
  header.writeUInt32LE(devices.length, DEVICES_LENGTH_OFFSET);
  const body = Buffer.concat([header, json, devices]);
  return Buffer.concat([body, checksum(body)]);
}

/** @throws StateFileError */
export async function readState(path: string): Promise<StateFile> {
  const bytes = await readFile(path).catch((cause: NodeJS.ErrnoException) => {
    throw new StateFileError(
      cause.syscall === 'open'
        ? `Failed to open snapshot file: ${osErrorText(cause)}`
        : loadRefusal(`IO Error: ${osErrorText(cause)}`),
    );
  });
  return decodeState(bytes);
}

/** @throws StateFileError */
export function decodeState(bytes: Buffer): StateFile {
  if (bytes.length > MAX_BYTES) {
    throw new StateFileError(loadRefusal(`Snapshot size exceeds limit of ${MAX_BYTES} bytes`));
  }
  if (bytes.length < 8) {
    throw new StateFileError(loadRefusal('IO Error: File too short to contain CRC'));
  }
  if (bytes.length < HEADER_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new StateFileError(loadRefusal(NO_SUCH_FORMAT));
  }
  const version = bytes.readUInt32LE(VERSION_OFFSET);
  if (version !== VERSION) {
    throw new StateFileError(loadRefusal(`Invalid data version: ${version}.0.0`));
  }
  const configEnd = HEADER_BYTES + bytes.readUInt32LE(CONFIG_LENGTH_OFFSET);
  if (bytes.length !== configEnd + bytes.readUInt32LE(DEVICES_LENGTH_OFFSET) + CHECKSUM_BYTES) {
    throw new StateFileError(loadRefusal(NO_SUCH_FORMAT));
  }
  const body = bytes.subarray(0, -CHECKSUM_BYTES);
  if (!bytes.subarray(-CHECKSUM_BYTES).equals(checksum(body))) {
    throw new StateFileError(loadRefusal('CRC64 validation failed'));
  }
  return {
    config: JSON.parse(body.toString('utf8', HEADER_BYTES, configEnd)),
    devices: Buffer.from(body.subarray(configEnd)),
  };
}

/** What Firecracker says of a file that is not in its format, which bitcode encodes. */
const NO_SUCH_FORMAT = 'An error occurred during bitcode serialization: bitcode error';

const loadRefusal = (reason: string) => `Failed to load snapshot state from file: ${reason}`;

const checksum = (bytes: Buffer) => createHash('sha256').update(bytes).digest();
