import type { RateLimiter } from '../api/bodies.js';
import type { BackingFile, CheckedDrive } from '../resources/drives.js';
import { driveBackendPath, driveFileNodeName, driveNodeName, fileNode, formatNode } from './command-line.js';
import type { Qmp } from './qmp.js';
import { throttleLimits } from './throttle.js';

const SECTOR_BYTES = 512;

interface BlockStats {
  readonly qdev?: string;
  readonly stats: Readonly<Record<string, number>>;
}

/** The drives of a running machine, by their place in the list of drives. */
export class MachineDrives {
  readonly #qmp: Qmp;
  readonly #fileGenerations = new Map<number, number>();

  constructor(qmp: Qmp) {
    this.#qmp = qmp;
  }

  async limit(index: number, limiter: RateLimiter | null): Promise<void> {
    await this.#qmp.execute('block_set_io_throttle', { id: driveBackendPath(index), ...throttleLimits(limiter) });
  }

  /** Puts another file under a drive. The guest is told of its size, unless it is read-only or a block device. */
  async replaceFile(index: number, drive: CheckedDrive, file: BackingFile): Promise<void> {
    const generation = this.#fileGenerations.get(index) ?? 0;
    const next = driveFileNodeName(index, generation + 1);
    await this.#qmp.execute('blockdev-add', fileNode(next, file, drive));
    this.#fileGenerations.set(index, generation + 1);
    let unused = driveFileNodeName(index, generation);
    try {
      await this.#qmp.execute('blockdev-reopen', { options: [formatNode(index, next, drive)] });
    } catch (error) {
      unused = next;
      throw error;
    } finally {
      await this.#qmp.execute('blockdev-del', { 'node-name': unused });
    }
    await this.#announceSize(index, drive, file);
  }

  /** What a drive has read and written since the machine began, in the names of Firecracker's metrics. */
  async stats(count: number): Promise<Record<string, number>[]> {
    const answer = (await this.#qmp.execute('query-blockstats')) as readonly BlockStats[];
    return Array.from({ length: count }, (_, index) => {
      const stats = answer.find(({ qdev }) => qdev === driveBackendPath(index))?.stats ?? {};
      return {
        read_bytes: stats.rd_bytes ?? 0,
        write_bytes: stats.wr_bytes ?? 0,
        read_count: stats.rd_operations ?? 0,
        write_count: stats.wr_operations ?? 0,
        flush_count: stats.flush_operations ?? 0,
      };
    });
  }

  /** QEMU tells the guest of a new size only when it resizes a disk itself: it is asked to, to the size that is there. */
  async #announceSize(index: number, drive: CheckedDrive, { sizeBytes: size }: BackingFile): Promise<void> {
    if (!drive.isReadOnly && size > 0 && size % SECTOR_BYTES === 0) {
      await this.#qmp.execute('block_resize', { 'node-name': driveNodeName(index), size });
    }
  }
}
