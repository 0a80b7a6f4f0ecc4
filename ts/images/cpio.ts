/**
 * cpio archives in the "new ASCII" (newc) form, the one the kernel unpacks as initramfs:
 * Documentation/driver-api/early-userspace/buffer-format.rst of Linux.
 */

/** One member. Names have no leading slash; the kernel makes them relative to its root. Owner and time are always 0. */
export type CpioEntry =
  | { readonly name: string; readonly type: 'directory'; readonly mode: number }
  | { readonly name: string; readonly type: 'file'; readonly mode: number; readonly data: Uint8Array }
  | { readonly name: string; readonly type: 'symlink'; readonly target: string }
  | {
      readonly name: string;
      readonly type: 'character';
      readonly mode: number;
      readonly major: number;
      readonly minor: number;
    };

const TYPE_BITS = { directory: 0o040000, file: 0o100000, symlink: 0o120000, character: 0o020000 };
const TRAILER = 'TRAILER!!!';

/** A member's bytes: header, name, data, each padded to 4. `ino` must differ between an archive's members. */
export function cpioMember(entry: CpioEntry, ino: number): Buffer {
  const data = entry.type === 'file' ? entry.data : Buffer.from(entry.type === 'symlink' ? entry.target : '');
  const mode = TYPE_BITS[entry.type] | (entry.type === 'symlink' ? 0o777 : entry.mode);
  const [major, minor] = entry.type === 'character' ? [entry.major, entry.minor] : [0, 0];
  const links = entry.type === 'directory' ? 2 : 1;
  return member(entry.name, data, { ino, mode, links, major, minor });
}

/** A whole archive with its trailer; the length is a multiple of 4, so that another archive may follow. */
export function cpioArchive(entries: readonly CpioEntry[]): Buffer {
  const members = entries.map((entry, index) => cpioMember(entry, index + 1));
  return Buffer.concat([...members, cpioTrailer()]);
}

/** What ends an archive. */
export function cpioTrailer(): Buffer {
  return member(TRAILER, Buffer.alloc(0), { ino: 0, mode: 0, links: 1, major: 0, minor: 0 });
}

/** The directories above these paths (no leading slash), parents first, each once. */
export function parentDirectories(paths: Iterable<string>): CpioEntry[] {
  const names = new Set<string>();
  for (const path of paths) {
    const parts = path.split('/').slice(0, -1);
    parts.forEach((_part, index) => {
      names.add(parts.slice(0, index + 1).join('/'));
    });
  }
  return [...names].sort().map((name) => ({ name, type: 'directory', mode: 0o755 }));
}

interface Fields {
  ino: number;
  mode: number;
  links: number;
  major: number;
  minor: number;
}

function member(name: string, data: Uint8Array, { ino, mode, links, major, minor }: Fields): Buffer {
  const nameBytes = Buffer.from(`${name}\0`);
  // Magic, then: ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
  const fields = [ino, mode, 0, 0, links, 0, data.length, 0, 0, major, minor, nameBytes.length, 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
  return Buffer.concat([
    Buffer.from(header),
    nameBytes,
    padding(header.length + nameBytes.length),
    data,
    padding(data.length),
  ]);
}

/** The zero bytes that bring a length to a multiple of 4. */
export function padding(length: number): Buffer {
  return Buffer.alloc(-length & 3);
}
