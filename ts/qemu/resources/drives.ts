import { constants, open } from 'node:fs/promises';
import type { Drive, RateLimiter } from '../api/bodies.js';
import { Fault, osErrorText } from '../fault.js';
import { normalized } from './rate-limiter.js';

/** A drive whose file could be opened. */
export interface CheckedDrive {
  readonly id: string;
  readonly partuuid: string | null;
  readonly isRoot: boolean;
  readonly cacheType: Drive['cache_type'];
  readonly isReadOnly: boolean;
  readonly ioEngine: 'Async' | 'Sync';
  readonly rateLimiter: RateLimiter | null;
  readonly file: BackingFile;
}

export interface BackingFile {
  readonly path: string;
  readonly isBlockDevice: boolean;
  /** 0 for a block device. */
  readonly sizeBytes: number;
  /** What the guest sees as the disk's serial number; Firecracker's rule. At most 20 bytes. */
  readonly serial: string;
}

/** The drives in the order in which the guest sees them: the root drive, if any, is the first. */
export class DriveList {
  readonly #drives: CheckedDrive[] = [];

  /** Adds a drive, or replaces the one with its id. @throws Fault */
  async insert(config: Drive): Promise<void> {
    const position = this.#drives.findIndex((drive) => drive.id === config.drive_id);
    if (config.is_root_device && this.hasRoot && position !== 0) {
      throw new Fault('Drive config error: A root block device already exists!');
    }
    const drive = await checkDrive(config);
    if (position >= 0) {
      this.#drives[position] = drive;
      if (drive.isRoot) {
        const first = this.#drives[0] ?? drive;
        this.#drives[position] = first;
        this.#drives[0] = drive;
      }
    } else if (drive.isRoot) {
      this.#drives.unshift(drive);
    } else {
      this.#drives.push(drive);
    }
  }

  /** Changes a drive of the running VM; nothing when there is no drive with that id. */
  update(id: string, change: Partial<Pick<CheckedDrive, 'file' | 'rateLimiter'>>): void {
    const index = this.indexOf(id);
    const drive = this.#drives[index];
    if (drive) {
      this.#drives[index] = { ...drive, ...change };
    }
  }

  indexOf(id: string): number {
    return this.#drives.findIndex((drive) => drive.id === id);
  }

  get hasRoot(): boolean {
    return this.#drives[0]?.isRoot ?? false;
  }

  get all(): readonly CheckedDrive[] {
    return this.#drives;
  }

  /** As `GET /vm/config` answers them. */
  present(): Drive[] {
    return this.#drives.map((drive) => ({
      drive_id: drive.id,
      partuuid: drive.partuuid,
      is_root_device: drive.isRoot,
      cache_type: drive.cacheType,
      is_read_only: drive.isReadOnly,
      path_on_host: drive.file.path,
      rate_limiter: drive.rateLimiter,
      io_engine: drive.ioEngine,
      socket: null,
    }));
  }
}

async function checkDrive(config: Drive): Promise<CheckedDrive> {
  const refusal = 'Drive config error: Unable to create the virtio block device:';
  const { path_on_host: path, socket } = config;
  if (path === null || socket !== null) {
    const vhostUser = socket !== null && path === null && config.is_read_only === null;
    if (vhostUser && config.rate_limiter === null && config.io_engine === null) {
      throw new Fault('The requested operation is not supported: vhost-user block devices on QEMU');
    }
    throw new Fault(`${refusal} Invalid block config.`);
  }
  const isReadOnly = config.is_read_only ?? false;
  return {
    id: config.drive_id,
    partuuid: config.partuuid,
    isRoot: config.is_root_device,
    cacheType: config.cache_type,
    isReadOnly,
    ioEngine: config.io_engine ?? 'Sync',
    rateLimiter: normalized(config.rate_limiter),
    file: await checkBackingFile(path, isReadOnly, refusal),
  };
}

/** @throws Fault that begins with `refusal` */
export async function checkBackingFile(path: string, isReadOnly: boolean, refusal: string): Promise<BackingFile> {
  const access = isReadOnly ? constants.O_RDONLY : constants.O_RDWR;
  try {
    const file = await open(path, access | constants.O_NONBLOCK);
    try {
      const stat = await file.stat();
      return {
        path,
        isBlockDevice: stat.isBlockDevice(),
        sizeBytes: stat.size,
        serial: `${stat.dev}${stat.rdev}${stat.ino}`.slice(0, 20),
      };
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw new Fault(
      `${refusal} Virtio backend error: Error manipulating the backing file: ${osErrorText(cause)} ${path}`,
    );
  }
}
