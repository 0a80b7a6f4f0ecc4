import { chmod, lstat, mkdir, readdir, readFile, readlink, symlink, writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { placeOf } from '../../../ts/cli/cp/copy.js';
import { type ExecRequest, finish } from '../../support/agent-server.js';
import { base64, end, entry, file, guestThat, REFUSED, record, sends, top } from '../../support/lying-files.js';
import { scratchDirectory } from '../../support/scratch.js';
import { mountTmpfs } from '../../support/tmpfs.js';
import { failOnWarnings } from '../../support/warnings.js';

failOnWarnings();

describe('a download from a guest that lies', () => {
  test.each([
    ['a name above the target', [top, ...file('../evil')]],
    ['an absolute name', [top, ...file('/tmp/evil')]],
    ['a name with .. in it', [top, entry('a', 'directory'), ...file('a/../../evil')]],
    ['an empty name', [top, ...file('')]],
    ['a NUL', [top, ...file('a\0b')]],
    [
      'a name behind a link that it has sent',
      [top, entry('out', 'symlink', { target: base64('..') }), ...file('out/evil')],
    ],
    ['a name behind a link of the host', [top, ...file('host-link/evil')]],
    ['a directory that was not sent', [top, ...file('a/b')]],
    ['a hard link to what is outside', [top, entry('a', 'hardlink', { target: base64('../victim') })]],
    ['a second tree', [top, entry('.', 'directory')]],
    ['a hard link for the top', [entry('.', 'hardlink', { target: base64('.') }), top]],
    ['a device', [top, entry('a', 'character-device')]],
    ['data outside of a file', [top, record('D', 'evil')]],
    ['an empty piece', [top, entry('a', 'file'), record('D'), record('F')]],
    ['a hole of no length', [top, entry('a', 'file'), record('H', Buffer.alloc(8))]],
    ['a hole beyond all', [top, entry('a', 'file'), record('H', Buffer.alloc(8, 0xff))]],
    ['a record that is too long', [top, record('D', '', 2 ** 32 - 1)]],
    ['what is no JSON', [top, record('E', '{"path"')]],
    ['a key that would reach a prototype', [top, record('E', '{"__proto__":{"path":"YQ=="}}')]],
    ['a size that is none', [top, entry('a', 'file', { size: -1 })]],
    ['an unknown record', [top, record('?')]],
    ['no end', [top, ...file('a')]],
    ['no end of a file', [top, entry('a', 'file'), record('D', 'evil')]],
    ['nothing at all', []],
  ])('%s: refused, and nothing is written outside', async (_what, records) => {
    await using scratch = await scratchDirectory();
    await mkdir(scratch.file('target'));
    await writeFile(scratch.file('victim'), 'whole');
    await symlink('..', scratch.file('target/host-link'));
    await using files = await sends(...records, ...(_what.startsWith('no') ? [] : [end]));
    await expect(files.download('/x', scratch.file('target'))).rejects.toMatchObject(REFUSED);
    expect((await readdir(scratch.file('.'))).sort()).toEqual(['target', 'victim']);
    expect(await readFile(scratch.file('victim'), 'utf8')).toBe('whole');
    expect((await readdir(scratch.file('target'))).filter((name) => name.includes('smartvm'))).toEqual([]);
  });

  test('a link of the guest does not become the top of the tree, nor take the place of one of the host', async () => {
    await using scratch = await scratchDirectory();
    await mkdir(scratch.file('victim'));
    await mkdir(scratch.file('meant'));
    await symlink('meant', scratch.file('link'));
    const away = entry('.', 'symlink', { target: base64('victim') });
    await using first = await sends(away, top, ...file('evil'), end);
    await expect(first.download('/x', scratch.file('new'))).rejects.toMatchObject(REFUSED);
    await using second = await sends(top, away, ...file('evil'), end);
    await expect(second.download('/x', scratch.file('link'))).rejects.toMatchObject(REFUSED);
    expect(await readdir(scratch.file('victim'))).toEqual([]);
    expect((await readdir(scratch.file('.'))).sort()).toEqual(['link', 'meant', 'victim']);
    expect(await readlink(scratch.file('link'))).toBe('meant');
  });

  test('a directory in place of a link of the host is not taken for it', async () => {
    await using scratch = await scratchDirectory();
    await mkdir(scratch.file('target'));
    await symlink('..', scratch.file('target/link'));
    await using files = await sends(top, entry('link', 'directory'), ...file('link/evil'), end);
    await expect(files.download('/x', scratch.file('target'))).rejects.toMatchObject({ code: 'HOST_FILE_FAILED' });
    expect(await readdir(scratch.file('.'))).toEqual(['target']);
  });

  test('setuid and setgid are not taken, and a link is replaced rather than written through', async () => {
    await using scratch = await scratchDirectory();
    await mkdir(scratch.file('target'));
    await chmod(scratch.file('target'), 0o700);
    await writeFile(scratch.file('victim'), 'whole');
    await symlink('../victim', scratch.file('target/a'));
    await using files = await sends(top, entry('a', 'file', { mode: 0o6755 }), record('D', 'new'), record('F'), end);
    expect(await files.download('/x', scratch.file('target'))).toEqual({ entries: 2, bytes: 3, skipped: [] });
    expect(await readFile(scratch.file('victim'), 'utf8')).toBe('whole');
    expect((await lstat(scratch.file('target/a'))).mode).toBe(0o100755);
    expect((await lstat(scratch.file('target'))).mode & 0o777).toBe(0o700);
  });

  test('the end of the stream may come long after the end of the tree, and nothing between them', async () => {
    await using scratch = await scratchDirectory();
    // Not what is waited for, but a guest that takes so long to say that it is done.
    const later = (what: (request: ExecRequest) => void) =>
      guestThat((request) => {
        request.channel.write(Buffer.concat([top, ...file('a'), end]));
        setTimeout(() => what(request), 200);
      });
    await using slow = await later((request) => finish(request, 0));
    expect(await slow.download('/x', scratch.file('slow'))).toMatchObject({ entries: 2 });
    await using endless = await later(({ channel }) => channel.write(record('E', '{}')));
    await expect(endless.download('/x', scratch.file('endless'))).rejects.toMatchObject(REFUSED);
  });

  test('a file that could not be read to its end is left out, and the rest comes', async () => {
    await using scratch = await scratchDirectory();
    await mkdir(scratch.file('target'));
    await writeFile(scratch.file('target/old'), 'old');
    const piece = record('D', 'x'.repeat(100_000));
    const fails = (path: string, pieces: Buffer[]) => [
      ...[entry(path, 'file', { size: 300_000 }), ...pieces],
      record('S', JSON.stringify({ path: base64(path), errno: 'EIO' })),
    ];
    await using files = await sends(
      ...[top, ...fails('none', []), ...fails('old', [piece]), ...fails('some', [piece, piece]), ...file('a'), end],
    );
    const { skipped } = await files.download('/x', scratch.file('target'));
    expect(skipped).toEqual(['none', 'old', 'some'].map((path) => ({ path, errno: 'EIO' })));
    expect((await readdir(scratch.file('target'))).sort()).toEqual(['a', 'old']);
    expect(await readFile(scratch.file('target/old'), 'utf8')).toBe('old');
  });

  test('more entries or bytes than are allowed', async () => {
    await using scratch = await scratchDirectory();
    const skipped = Array.from({ length: 20 }, () => record('S', JSON.stringify({ path: 'YQ==', errno: 'EIO' })));
    await using files = await sends(top, ...file('a'), ...skipped, end);
    const limits = [{ maxEntries: 10 }, { maxBytes: 3 }];
    for (const limit of limits) {
      await expect(files.download('/x', scratch.file('target'), limit)).rejects.toMatchObject({
        code: 'GUEST_FILE_LIMIT',
      });
    }
  });

  test.runIf(process.getuid?.() === 0)('a full disk of the host leaves what was there, and no part', async () => {
    await using scratch = await scratchDirectory();
    await using disk = await mountTmpfs(scratch.file('disk'));
    await disk.remount('size=1m');
    await writeFile(scratch.file('disk/a'), 'old');
    const pieces = Array.from({ length: 8 }, () => record('D', Buffer.alloc(256 * 1024, 1)));
    await using files = await sends(top, entry('a', 'file'), ...pieces, record('F'), end);
    await expect(files.download('/x', scratch.file('disk'))).rejects.toMatchObject({
      code: 'HOST_FILE_FAILED',
      details: { errno: 'ENOSPC', path: scratch.file('disk/a') },
    });
    expect(await readdir(scratch.file('disk'))).toEqual(['a']);
    expect(await readFile(scratch.file('disk/a'), 'utf8')).toBe('old');
  });

  test('names that would fill the memory', async () => {
    await using scratch = await scratchDirectory();
    const skipped = record('S', JSON.stringify({ path: base64('x'.repeat(4095)), errno: 'EIO' }));
    const many = Buffer.concat(Array.from({ length: 200 }, () => skipped));
    await using files = await guestThat(({ channel }) => {
      const more = () => channel.write(many) && setImmediate(more);
      channel.on('drain', more);
      more();
    });
    await expect(files.download('/x', scratch.file('target'))).rejects.toMatchObject({ code: 'GUEST_FILE_LIMIT' });
  });
});

describe('answers of a guest that lies', () => {
  const TOLD = { type: 'file', size: 1, mode: 0o644, uid: 0, gid: 0, mtimeNs: '1' };

  test.each(['..', 'a/b', '', '\0'])('an entry of a directory named %j', async (name) => {
    await using files = await guestThat((request) =>
      finish(request, 0, `${JSON.stringify({ ...TOLD, name: base64(name) })}\n`),
    );
    await expect(files.list('/x')).rejects.toMatchObject(REFUSED);
  });

  test('a directory whose links would fill the memory', async () => {
    const link = { ...TOLD, type: 'symlink', name: base64('a'), target: base64('x'.repeat(4095)) };
    const many = Buffer.from(`${JSON.stringify(link)}\n`.repeat(200));
    let sent = 0;
    await using files = await guestThat((request) => {
      // More than is taken, but with an end: a program that takes all shall be seen to.
      const more = () => (sent++ < 100 ? request.channel.write(many) && setImmediate(more) : finish(request, 0));
      request.channel.on('drain', more);
      more();
    });
    await expect(files.list('/x')).rejects.toMatchObject({ code: 'GUEST_FILE_LIMIT' });
  });

  test.each([{ ...TOLD, mode: -1 }, { ...TOLD, type: 'evil' }, { ...TOLD, mtimeNs: '1e9' }, [], null])(
    'the status %j',
    async (status) => {
      await using files = await guestThat((request) => finish(request, 0, `${JSON.stringify(status)}\n`));
      await expect(files.stat('/x')).rejects.toMatchObject(REFUSED);
    },
  );

  test('a line that does not end, and words of a failure that are none', async () => {
    await using endless = await guestThat(({ channel }) => {
      channel.write('x'.repeat(40_000));
    });
    await expect(endless.list('/x')).rejects.toMatchObject(REFUSED);
    await using odd = await guestThat((request) =>
      finish(request, 1, '', `{"errno":"../x","message":${'9'.repeat(9)}}`),
    );
    await expect(odd.mkdir('/x')).rejects.toMatchObject({ code: 'GUEST_FILE_FAILED', details: { path: '/x' } });
    await using changed = await guestThat((request) => finish(request, 0, '{"kind":"create","path":"L2E="}\n'));
    await expect(changed.watch('/x')).rejects.toMatchObject(REFUSED);
  });

  test('a file without an end is cut off at the limit', async () => {
    await using files = await guestThat(({ channel }) => {
      const more = () => channel.write(Buffer.alloc(32 * 1024)) && setImmediate(more);
      channel.on('drain', more);
      more();
    });
    await expect(files.read('/x', { maxBytes: 1_000_000 })).rejects.toMatchObject({ code: 'GUEST_FILE_LIMIT' });
  });
});

test('a place of smartvm cp', () => {
  expect(placeOf('web:/srv')).toEqual({ vm: 'web', path: '/srv' });
  expect(placeOf('web:')).toEqual({ vm: 'web', path: '' });
  for (const path of ['./a:b', '/a:b', 'a/b:c', 'plain', ':x']) {
    expect(placeOf(path)).toEqual({ vm: undefined, path });
  }
});
