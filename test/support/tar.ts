/** A member of an archive that {@link tarArchive} makes. */
export interface TarMember {
  readonly name: string;
  /** POSIX's type flag. Default `0`, a regular file. */
  readonly type?: string;
  readonly data?: string | Uint8Array;
  readonly link?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Seconds since 1970. Default 1,000,000. */
  readonly mtime?: number;
  readonly device?: readonly [major: number, minor: number];
  /** Records of an extended header in front of it. */
  readonly pax?: Readonly<Record<string, string>>;
}

const BLOCK = 512;

/** A tar archive of these members as they are: also of those that no tool would write. */
export function tarArchive(members: readonly TarMember[]): Buffer {
  return Buffer.concat([...members.flatMap(memberBlocks), Buffer.alloc(2 * BLOCK)]);
}

function memberBlocks(member: TarMember): Buffer[] {
  const data = Buffer.from(member.data ?? '');
  const pax = Object.entries(member.pax ?? {}).map(([key, value]) => paxRecord(key, value));
  const extended = pax.length > 0 ? memberBlocks({ name: 'pax', type: 'x', data: pax.join('') }) : [];
  return [...extended, header(member, data.length), data, Buffer.alloc(-data.length & (BLOCK - 1))];
}

function header(member: TarMember, size: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number) =>
    block.write(value.toString(8).padStart(length - 1, '0'), at, 'latin1');
  block.write(member.name, 0, 100);
  octal(member.mode ?? 0o755, 100, 8);
  octal(member.uid ?? 0, 108, 8);
  octal(member.gid ?? 0, 116, 8);
  octal(size, 124, 12);
  octal(member.mtime ?? 1_000_000, 136, 12);
  block.write('        ', 148);
  block.write(member.type ?? '0', 156);
  block.write(member.link ?? '', 157, 100);
  block.write('ustar\x0000', 257, 'latin1');
  octal(member.device?.[0] ?? 0, 329, 8);
  octal(member.device?.[1] ?? 0, 337, 8);
  octal(
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  );
  return block;
}

function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  const bytes = Buffer.byteLength(rest);
  const guess = bytes + String(bytes).length;
  return `${bytes + String(guess).length}${rest}`;
}
