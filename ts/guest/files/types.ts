import type { Readable } from 'node:stream';

/** An absolute path in the guest. Bytes are for names that are not UTF-8. */
export type GuestPath = string | Uint8Array;

export type FileType =
  | 'file'
  | 'directory'
  | 'symlink'
  | 'fifo'
  | 'socket'
  | 'block-device'
  | 'character-device'
  | 'unknown';

/** A file of the guest as stat(2) has it. */
export interface FileStatus {
  readonly type: FileType;
  /** In bytes. */
  readonly size: number;
  /** Permission bits, with setuid, setgid and sticky: 0 to 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** By the guest's clock. */
  readonly modifiedAt: Date;
  /** Where a symbolic link leads, as it is written in it. Bytes where that is not UTF-8. */
  readonly target: GuestPath | undefined;
}

export interface DirectoryEntry extends FileStatus {
  /** What is not UTF-8 in it stands as U+FFFD; `path` is exact. */
  readonly name: string;
  /** For every other call; bytes where it is not UTF-8. */
  readonly path: GuestPath;
}

export interface FileCallOptions {
  signal?: AbortSignal | undefined;
}

export interface ReadFileOptions extends FileCallOptions {
  /** First byte. Default 0. */
  offset?: number | undefined;
  /** Bytes; fewer come where the file ends before. Default: to its end. */
  length?: number | undefined;
  /** Most bytes that are collected. Default 100,000,000. Streams have no limit. */
  maxBytes?: number | undefined;
}

export type FileContent = string | Uint8Array | Readable | AsyncIterable<string | Uint8Array>;

export interface Owner {
  uid: number;
  gid: number;
}

export interface WriteFileOptions extends FileCallOptions {
  /** Permission bits. Default: those that the file has, or 0o644. */
  mode?: number | undefined;
  /** Default: that of the file that was there, or root. */
  owner?: Owner | undefined;
  /** Directories that are missing are made. Default false. */
  parents?: boolean | undefined;
  /** The content is added to what is there. Default false. */
  append?: boolean | undefined;
  /**
   * The content is written beside the file and takes its place when it is whole, so that no reader sees a part, and what fails changes
   * nothing. Default true. False is for a file that is mounted, or of /proc or /sys. Devices and pipes are always written in place.
   */
  atomic?: boolean | undefined;
}

/** How far a transfer is. */
export interface TransferProgress {
  /** Files, directories and links that were begun. */
  readonly entries: number;
  /** Bytes of files that were sent; holes are none. */
  readonly bytes: number;
  /** Relative to the top of the tree, which is `.`. */
  readonly path: string;
  /** Size of the file at `path`. */
  readonly size: number;
}

export interface TransferOptions extends FileCallOptions {
  /** Called at each entry, and after at most each 256 KiB of a file. */
  onProgress?: ((progress: TransferProgress) => void) | undefined;
  /** The directory around the target is made if it is missing, and those around that. Default false. */
  parents?: boolean | undefined;
}

export interface UploadOptions extends TransferOptions {
  /** Of all that is made. Default root. */
  owner?: Owner | undefined;
}

export interface DownloadOptions extends TransferOptions {
  /** Most bytes that are taken; holes are none. Default 64 GiB. */
  maxBytes?: number | undefined;
  /** Most files, directories and links that are taken. Default 1,000,000. */
  maxEntries?: number | undefined;
}

/** What was left out of a tree: it has gone meanwhile, cannot be read, or is neither file, directory nor link. */
export interface SkippedEntry {
  readonly path: string;
  /** As `ENOENT`; `ENOTSUP` for devices, pipes and sockets. */
  readonly errno: string;
}

export interface TransferResult {
  readonly entries: number;
  readonly bytes: number;
  readonly skipped: readonly SkippedEntry[];
}

export interface FileChange {
  /** `overflow`: changes came faster than they were read, and some are lost. */
  readonly kind: 'create' | 'modify' | 'attributes' | 'remove' | 'move-from' | 'move-to' | 'overflow';
  /** Undefined for `overflow`. */
  readonly path: GuestPath | undefined;
  /** The same for both halves of one rename, and 0 otherwise. */
  readonly cookie: number;
}

export interface WatchOptions extends FileCallOptions {
  /** With all directories below, those too that are made later. Default false. */
  recursive?: boolean | undefined;
}
