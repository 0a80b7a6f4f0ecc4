import { lstatSync, readFileSync } from 'node:fs';
import { readdir, rename, rm, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory, writeFileAtomic } from '../../util/atomic-file.js';
import { sha256File } from '../../util/file-hash.js';
import { ensurePrivateDirectory } from '../../util/private-directory.js';
import { type Fingerprint, fingerprint, fingerprintSync, sameFingerprint } from '../../util/verified-file.js';

/** Content of the store, by what it is. */
export interface BlobRef {
  /** 64 hexadecimal digits. */
  readonly sha256: string;
  readonly size: number;
}

const HEX = /^[0-9a-f]{64}$/;

export function isBlobRef(value: unknown): value is BlobRef {
  const { sha256, size } = (value ?? {}) as Partial<BlobRef>;
  return typeof sha256 === 'string' && HEX.test(sha256) && Number.isSafeInteger(size) && (size as number) >= 0;
}

/**
 * Files named by their sha256 (0444, in directories of 0700). Beside each stands how stat(2) saw it when it was last hashed: while
 * that has not changed it is used without a look at its bytes; a change of any of it costs a hash; other bytes, or what is no
 * regular file, are set aside and never used.
 */
export class Blobs {
  readonly directory: string;
  /** What stat(2) said of each when it was last hashed. */
  readonly checked: string;
  readonly #corrupt: string;

  /** @param root the store's directory */
  constructor(root: string) {
    this.directory = join(root, 'blobs', 'sha256');
    this.checked = join(root, 'blobs', 'checked');
    this.#corrupt = join(root, 'blobs', 'corrupt');
  }

  /** Where content is, if the store has it. */
  pathOf(sha256: string): string {
    if (!HEX.test(sha256)) {
      throw new TypeError(`not a sha256: ${sha256}`);
    }
    return join(this.directory, sha256);
  }

  /** Whether it is there untouched since it was hashed: some 50 µs, whatever its size. */
  isTrusted({ sha256, size }: BlobRef): boolean {
    const now = fingerprintSync(this.pathOf(sha256));
    return now?.size === String(size) && sameFingerprint(now, this.#recorded(sha256));
  }

  /** Whether it is there with its bytes, which are hashed where it has been touched. One that is not what it was is set aside. */
  async has(blob: BlobRef): Promise<boolean> {
    return this.isTrusted(blob) || (await this.verify(blob)) === 'whole';
  }

  /** Hashes it whatever stat(2) says. What is not what it should be is set aside. */
  async verify({ sha256, size }: BlobRef): Promise<'whole' | 'absent' | 'corrupt'> {
    const path = this.pathOf(sha256);
    if (!lstatSync(path, { throwIfNoEntry: false })) {
      return 'absent';
    }
    const before = await fingerprint(path); // first: a write during the hashing makes the record worthless, not wrong
    if (before?.size === String(size) && (await sha256File(path)) === sha256) {
      await this.#record(sha256, before);
      return 'whole';
    }
    await this.#setAside(sha256);
    return 'corrupt';
  }

  /**
   * Takes a finished file (hashed, 0444, on the disk) into the store. Content that is there already stays: VMs may have it open.
   * @param temporary on the store's file system; gone afterwards
   */
  async take(temporary: string, blob: BlobRef): Promise<void> {
    await Promise.all([this.directory, this.checked].map(ensurePrivateDirectory));
    if (await this.has(blob)) {
      await unlink(temporary);
      return;
    }
    const path = this.pathOf(blob.sha256);
    await rename(temporary, path);
    await syncDirectory(this.directory);
    const now = await fingerprint(path);
    if (now) {
      await this.#record(blob.sha256, now);
    }
  }

  async list(): Promise<BlobRef[]> {
    const names = await readdir(this.directory).catch(() => []);
    return names.flatMap((sha256) => {
      const stat = lstatSync(join(this.directory, sha256), { throwIfNoEntry: false });
      return HEX.test(sha256) && stat ? [{ sha256, size: stat.size }] : [];
    });
  }

  async remove(sha256: string): Promise<void> {
    await rm(this.pathOf(sha256), { recursive: true, force: true });
    await rm(join(this.checked, sha256), { force: true });
  }

  /** What was set aside, kept for whoever wants to know what happened. */
  async listCorrupt(): Promise<string[]> {
    return (await readdir(this.#corrupt).catch(() => [])).map((name) => join(this.#corrupt, name));
  }

  #recorded(sha256: string): Fingerprint | undefined {
    try {
      return JSON.parse(readFileSync(join(this.checked, sha256), 'utf8')) as Fingerprint;
    } catch {
      return undefined; // it is hashed then
    }
  }

  async #record(sha256: string, print: Fingerprint): Promise<void> {
    await ensurePrivateDirectory(this.checked);
    await writeFileAtomic(join(this.checked, sha256), JSON.stringify(print));
  }

  async #setAside(sha256: string): Promise<void> {
    await ensurePrivateDirectory(this.#corrupt);
    const aside = join(this.#corrupt, sha256);
    await rm(aside, { recursive: true, force: true });
    await rename(this.pathOf(sha256), aside).catch(() => undefined); // another program may have been faster
  }
}
