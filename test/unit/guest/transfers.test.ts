import { rmSync } from 'node:fs';
import { link, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { describe, expect, test, vi } from 'vitest';
import { GuestFiles } from '../../../ts/guest/files/guest-files.js';
import { RecordReader } from '../../../ts/guest/files/records.js';
import type { TransferProgress } from '../../../ts/guest/files/types.js';
import { agentServer, connect, type ExecRequest, finish } from '../../support/agent-server.js';
import { until } from '../../support/leftovers.js';
import { entry, guestThat, record, top } from '../../support/lying-files.js';
import { scratchDirectory } from '../../support/scratch.js';
import { failOnWarnings } from '../../support/warnings.js';

failOnWarnings();

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

test('a record in pieces of one byte is not moved once for each of them', async () => {
  const whole = record('D', Buffer.alloc(256 * 1024, 7));
  const pieces = Readable.from(Array.from(whole, (_, at) => whole.subarray(at, at + 1)));
  expect((await new RecordReader(pieces).next())?.payload.equals(whole.subarray(5))).toBe(true);
}, 30_000); // to move what waits takes longer than that: the square of the pieces
