import { rmSync } from 'node:fs';
import { chmod, link, lstat, mkdir, readdir, readFile, readlink, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { describe, expect, test, vi } from 'vitest';
import { placeOf } from '../../../ts/cli/cp/copy.js';
import { GuestFiles } from '../../../ts/guest/files/guest-files.js';
import { RecordReader } from '../../../ts/guest/files/records.js';
import type { TransferProgress } from '../../../ts/guest/files/types.js';
import { type AgentServerOptions, agentServer, connect, type ExecRequest, finish } from '../../support/agent-server.js';
import { until } from '../../support/leftovers.js';
import { scratchDirectory } from '../../support/scratch.js';
import { mountTmpfs } from '../../support/tmpfs.js';
import { failOnWarnings } from '../../support/warnings.js';

failOnWarnings();

const REFUSED = { code: 'GUEST_FILE_REFUSED' };
const base64 = (text: string) => Buffer.from(text, 'latin1').toString('base64');

function record(kind: string, payload: Uint8Array | string = '', length = Buffer.byteLength(payload)): Buffer {
  const header = Buffer.from([kind.charCodeAt(0), 0, 0, 0, 0]);
  header.writeUInt32BE(length, 1);
  return Buffer.concat([header, Buffer.from(payload as string)]);
}

const entry = (path: string, type: string, more: object = {}) =>
  record('E', JSON.stringify({ path: base64(path), type, ...more }));
const file = (path: string, content = 'evil') => [entry(path, 'file'), record('D', content), record('F')];
const top = entry('.', 'directory', { mode: 0o755 });
const end = record('Z');

/** A guest that answers each request so. */
async function guestThat(answer: (request: ExecRequest) => void, options: AgentServerOptions = {}) {
  const server = await agentServer(answer, options);
  const connection = await connect(server);
  return Object.assign(new GuestFiles(async () => connection), {
    async [Symbol.asyncDispose]() {
      connection.close();
      await server[Symbol.asyncDispose]();
    },
  });
}

const sends = (...records: Buffer[]) =>
  guestThat((request) => {
    request.channel.write(Buffer.concat(records));
    finish(request, 0);
  });

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

describe('an upload while its tree is taken away', () => {
  /** What it sends of a tree from which, at the first thing in it that it tells of, what `gone` says is removed. */
  async function sentOf(tree: string, gone: (first: string) => readonly string[]) {
    let sent = Buffer.alloc(0);
    await using files = await guestThat((request) => {
      request.channel.on('data', (chunk: Buffer) => {
        sent = Buffer.concat([sent, chunk]);
      });
      request.channel.once('end', () => finish(request, 0));
    });
    let isTold = false;
    const { skipped } = await files.upload(tree, '/x', {
      onProgress: ({ path }) => {
        if (!isTold && path !== '.') {
          isTold = true;
          for (const name of gone(path)) {
            rmSync(join(tree, name), { recursive: true });
          }
        }
      },
    });
    const types = new Map<string, string>();
    for (let at = 0; at < sent.length; at += 5 + sent.readUInt32BE(at + 1)) {
      if (sent[at] === 'E'.charCodeAt(0)) {
        const { path, type } = JSON.parse(sent.subarray(at + 5, at + 5 + sent.readUInt32BE(at + 1)).toString());
        types.set(Buffer.from(path, 'base64').toString(), type);
      }
    }
    return { types, skipped: skipped.map(({ path, errno }) => `${path} ${errno}`).sort() };
  }

  test('leaves out directories and links that have gone, and lists them', async () => {
    await using scratch = await scratchDirectory();
    const names = ['directory-1', 'directory-2', 'link-1', 'link-2'];
    for (const name of names) {
      await (name.startsWith('link') ? symlink('/to', scratch.file(name)) : mkdir(scratch.file(name)));
    }
    let others: string[] = [];
    const { types, skipped } = await sentOf(scratch.file('.'), (first) => {
      others = names.filter((name) => name !== first);
      return others;
    });
    expect(skipped).toEqual(others.map((name) => `${name} ENOENT`));
    expect(types.size).toBe(2);
  });

  test('sends the second name of a file as a file when the first has gone', async () => {
    await using scratch = await scratchDirectory();
    for (const group of ['a', 'b']) {
      await writeFile(scratch.file(`${group}1`), group);
      await link(scratch.file(`${group}1`), scratch.file(`${group}2`));
    }
    const order = await readdir(scratch.file('.'));
    const [one, two] = order.filter((name) => name[0] !== order[0]?.[0]) as [string, string];
    const { types, skipped } = await sentOf(scratch.file('.'), () => [one]);
    expect(skipped).toEqual([`${one} ENOENT`]);
    expect(types.get(two)).toBe('file');
    expect([...types.values()].sort()).toEqual(['directory', 'file', 'file', 'hardlink']);
  });
});

describe('writing what is idle', () => {
  const idle = () => new Readable({ read: () => undefined });

  test.each([
    ['an abort', 'CANCELED', () => undefined],
    ['a failure in the guest', 'GUEST_FILE_FAILED', (request: ExecRequest) => finish(request, 1)],
    ['an end before the end', 'GUEST_FILE_REFUSED', (request: ExecRequest) => finish(request, 0)],
    ['the loss of the guest', 'AGENT_UNREACHABLE', ({ socket }: ExecRequest) => socket.destroy()],
  ])('ends with %s, and ends the stream', async (_what, code, answer) => {
    const aborter = new AbortController();
    await using files = await guestThat((request) => {
      request.channel.resume();
      answer(request);
      code === 'CANCELED' && aborter.abort();
    });
    const stream = idle();
    await expect(files.write('/x', stream, { signal: aborter.signal })).rejects.toMatchObject({ code });
    expect(stream.destroyed).toBe(true);
  });

  test('ends an iterator, whatever that says to it', async () => {
    await using files = await guestThat((request) => finish(request, 1));
    let isEnded = false;
    const chunks = {
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise<IteratorResult<string>>(() => undefined),
        return: async () => {
          isEnded = true;
          throw new Error('it does not want to end');
        },
      }),
    };
    await expect(files.write('/x', chunks)).rejects.toMatchObject({ code: 'GUEST_FILE_FAILED' });
    expect(isEnded).toBe(true);
  });
});

describe('a guest that hears and says nothing any more', () => {
  const calls: [string, (files: GuestFiles, path: string, signal: AbortSignal) => Promise<unknown>][] = [
    ['read', (files, _path, signal) => files.read('/x', { signal })],
    ['list', (files, _path, signal) => files.list('/x', { signal })],
    ['stat', (files, _path, signal) => files.stat('/x', { signal })],
    ['mkdir', (files, _path, signal) => files.mkdir('/x', { signal })],
    ['watch', (files, _path, signal) => files.watch('/x', { signal })],
    ['write', (files, _path, signal) => files.write('/x', Buffer.alloc(8_000_000), { signal })],
    ['upload', (files, path, signal) => files.upload(path, '/x', { signal })],
    ['download', (files, path, signal) => files.download('/x', path, { signal })],
  ];

  test.each(calls)('%s ends with its signal', async (_what, call) => {
    await using scratch = await scratchDirectory();
    await writeFile(scratch.file('file'), Buffer.alloc(8_000_000, 1));
    const path = scratch.file('file');
    await using server = await agentServer(({ socket }) => void socket.pause());
    using connection = await connect(server);
    const begun = new AbortController();
    const silent = new GuestFiles(async () => {
      const files = async (request: object) => {
        const command = await connection.files(request);
        setImmediate(() => begun.abort());
        return command;
      };
      return Object.assign(Object.create(connection), { files });
    });
    await expect(call(silent, path, begun.signal)).rejects.toMatchObject({ code: 'CANCELED' });
    const opening = new AbortController();
    await using closed = await guestThat(() => undefined, { sessions: 'ignored' });
    const ended = expect(call(closed, path, opening.signal)).rejects.toMatchObject({ code: 'CANCELED' });
    opening.abort();
    await ended;
    expect(await readdir(scratch.file('.'))).toEqual(['file']);
  });

  test('a watch ends when it is closed', async () => {
    await using files = await guestThat(({ channel, socket }) => {
      channel.write('{"kind":"ready"}\n', () => socket.pause());
    });
    await using watcher = await files.watch('/x');
    setImmediate(() => watcher.close());
    for await (const change of watcher) {
      expect(change).toBeUndefined();
    }
  });

  test('what is opened after the abort is ended', async () => {
    const aborter = new AbortController();
    let isClosed = false;
    await using server = await agentServer(({ channel }) => {
      channel.resume().once('close', () => {
        isClosed = true;
      });
    });
    using connection = await connect(server);
    let give!: () => void;
    const late = new Promise<void>((resolve) => {
      give = resolve;
    });
    const files = new GuestFiles(() => late.then(() => connection));
    const listing = expect(files.list('/x', { signal: aborter.signal })).rejects.toMatchObject({ code: 'CANCELED' });
    aborter.abort();
    await listing;
    give();
    await until(() => isClosed, 2_000, 'the end of the channel');
  });
});

describe('an onProgress that throws', () => {
  const own = new TypeError('no such bar');

  test.each(['directory', 'file'])('ends a download with its own error, at a %s', async (type) => {
    await using scratch = await scratchDirectory();
    await mkdir(scratch.file('target'));
    const closed = vi.fn();
    await using files = await guestThat(({ channel }) => {
      channel.once('close', closed).resume();
      channel.write(Buffer.concat([top, entry('a', 'file'), record('D', 'half')])); // and no more
    });
    const onProgress = ({ bytes }: TransferProgress) => {
      if (type === 'directory' || bytes > 0) {
        throw own;
      }
    };
    await expect(files.download('/x', scratch.file('target'), { onProgress })).rejects.toBe(own);
    expect(await readdir(scratch.file('target'))).toEqual([]);
    await until(() => closed.mock.calls.length === 1, 2_000, 'the end of the channel');
  });

  test('ends an upload with its own error', async () => {
    await using scratch = await scratchDirectory();
    await writeFile(scratch.file('file'), 'x');
    const closed = vi.fn();
    await using files = await guestThat(({ channel }) => void channel.once('close', closed).resume());
    const onProgress = () => {
      throw own;
    };
    await expect(files.upload(scratch.file('file'), '/x', { onProgress })).rejects.toBe(own);
    await until(() => closed.mock.calls.length === 1, 2_000, 'the end of the channel');
  });
});

test('a record in pieces of one byte takes little longer than its pieces', async () => {
  const whole = record('D', Buffer.alloc(128 * 1024, 7));
  const pieces = () => Readable.from(Array.from(whole, (_, at) => whole.subarray(at, at + 1)));
  const timed = async (work: () => Promise<void>) => {
    const since = performance.now();
    await work();
    return performance.now() - since;
  };
  const alone = await timed(async () => {
    for await (const piece of pieces()) {
      piece satisfies Buffer;
    }
  });
  const taken = await timed(async () => {
    expect((await new RecordReader(pieces()).next())?.payload.equals(whole.subarray(5))).toBe(true);
  });
  expect(taken).toBeLessThan(alone * 10);
}, 60_000);

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
