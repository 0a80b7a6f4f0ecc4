import { readdirSync } from 'node:fs';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type TarEntry, TarScanner } from '../../../../ts/images/oci/tar-scan.js';
import { run } from '../../../../ts/util/run.js';
import { scratchDirectory } from '../../../support/scratch.js';
import { tarArchive } from '../../../support/tar.js';

/** The members of an archive that comes in pieces of this size. */
function scan(archive: Buffer, pieceBytes = archive.length): TarEntry[] {
  const entries: TarEntry[] = [];
  const scanner = new TarScanner((entry) => entries.push(entry));
  for (let at = 0; at < archive.length; at += pieceBytes) {
    scanner.write(archive.subarray(at, at + pieceBytes));
  }
  scanner.end();
  return entries;
}

const paths = (archive: Buffer) => scan(archive).map(({ path }) => path);

describe('TarScanner', () => {
  it.each(['pax', 'gnu', 'ustar'])('reads what GNU tar writes as %s', async (format) => {
    await using scratch = await scratchDirectory();
    const deep = format === 'ustar' ? 'a'.repeat(90) : `${'long/'.repeat(40)}${'name'.repeat(30)}`;
    await mkdir(scratch.file('tree', deep), { recursive: true });
    await writeFile(scratch.file('tree', deep, 'file'), 'x'.repeat(2000));
    await symlink('b'.repeat(format === 'ustar' ? 90 : 200), scratch.file('tree', 'link'));
    const options = [`--format=${format}`, '--create', '--mtime=@1234567890', '--sort=name'];
    await run('tar', [...options, '--file', scratch.file('a.tar'), '--directory', scratch.file('tree'), '.']);
    const listing = (await run('tar', ['--list', '--file', scratch.file('a.tar')])).toString().trimEnd().split('\n');
    const entries = scan(await readFile(scratch.file('a.tar')), 100);
    expect(entries.map(({ path }) => path)).toEqual(listing);
    expect(entries.find(({ type }) => type === '2')?.linkPath).toMatch(/^b{90,200}$/);
    expect(new Set(entries.map(({ mtime }) => mtime))).toEqual(new Set([1_234_567_890]));
    expect(readdirSync(scratch.file('tree'))).toHaveLength(2);
  });

  it('reads the same whatever the pieces are', () => {
    const archive = tarArchive([
      { name: 'a', data: 'x'.repeat(1000) },
      { name: 'b', type: '1', link: 'a' },
      { name: 'short', pax: { path: 'é'.repeat(300), mtime: '5.25' }, data: '1' },
    ]);
    const whole = scan(archive);
    expect(whole.map(({ path, type, mtime }) => [path, type, mtime])).toEqual([
      ['a', '0', 1_000_000],
      ['b', '1', 1_000_000],
      ['é'.repeat(300), '0', 5],
    ]);
    const pieces = fc.integer({ min: 1, max: 1500 });
    fc.assert(fc.property(pieces, (size) => void expect(scan(archive, size)).toEqual(whole)));
  });

  it('sees files with holes, and passes over what has no content whatever its size says', () => {
    const holes = tarArchive([
      { name: 'a', type: 'S' },
      { name: 'b', pax: { 'GNU.sparse.major': '1' } },
    ]);
    expect(scan(holes).map(({ sparse }) => sparse)).toEqual([true, true]);
    const link = tarArchive([{ name: 'l', type: '2', link: 'x', pax: { size: '512' } }, { name: 'next' }]);
    expect(paths(link)).toEqual(['l', 'next']);
  });

  it('takes no garbage, and nothing that is cut short', () => {
    const archive = tarArchive([{ name: 'a', data: 'x'.repeat(1000) }]);
    expect(() => scan(Buffer.alloc(2048, 'garbage'))).toThrow('it is no tar archive');
    expect(paths(archive.subarray(0, 512 + 1000))).toEqual(['a']); // without the padding
    expect(() => scan(archive.subarray(0, 900))).toThrow('it is cut short');
    expect(() => scan(archive.subarray(0, 300))).toThrow('it is cut short');
    expect(() => scan(tarArchive([{ name: 'a', pax: { size: '-1' } }]))).toThrow('a member has no size');
    const damaged = Buffer.from(tarArchive([{ name: 'a', pax: { path: 'b' } }]));
    damaged.write('999', 512);
    expect(() => scan(damaged)).toThrow('an extended header is damaged');
  });

  it('gathers no endless headers in front of a member', () => {
    const scanner = new TarScanner(() => undefined);
    const one = (index: number) =>
      tarArchive([{ name: 'pax', type: 'x', data: paxOf(`key${index}`, 'v'.repeat(1000)) }]).subarray(0, -1024);
    const feed = () => {
      for (let index = 0; index < 10_000; index++) {
        scanner.write(one(index));
      }
    };
    expect(feed).toThrow('the extended headers of a member have');
  });
});

function paxOf(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  return `${rest.length + 4}${rest}`;
}
