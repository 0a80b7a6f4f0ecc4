import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  link,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FileChange } from '../../ts/guest/files/types.js';
import type { MicroVM } from '../../ts/vm/micro-vm.js';
import { cli } from '../support/cli.js';
import { type Bench, openBench } from '../support/debian-vm.js';
import { GUEST_INITS, isSecondRun } from '../support/guest-init.js';
import { until } from '../support/leftovers.js';
import { type ScratchDirectory, scratchDirectory } from '../support/scratch.js';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

describe.each(GUEST_INITS)('the files of a guest whose init is that of the %s', (init) => {
  let bench: Bench;
  let vm: MicroVM;
  let scratch: ScratchDirectory;

  beforeAll(async () => {
    [bench, scratch] = await Promise.all([openBench(), scratchDirectory()]);
    vm = await bench.smartvm.launch({ id: 'files', memSizeMib: 256, init, startTimeoutMs: 240_000 });
  }, 300_000);

  afterAll(async () => {
    await bench[Symbol.asyncDispose]();
    await scratch[Symbol.asyncDispose]();
  });

  const shell = async (script: string): Promise<string> =>
    (await vm.exec(script, { shell: true, reject: true, timeoutMs: 60_000 })).stdout.trim();

  const failed = (errno: string) => ({ code: 'GUEST_FILE_FAILED', details: expect.objectContaining({ errno }) });

  it('writes and reads text, bytes and streams', async () => {
    const path = '/srv/made/some.txt';
    await expect(vm.files.write(path, 'x')).rejects.toMatchObject(failed('ENOENT'));
    await vm.files.write(path, 'grüße\n', { parents: true, mode: 0o640, owner: { uid: 7, gid: 8 } });
    expect(await shell(`stat -c '%a %u %g' ${path}`)).toBe('640 7 8');
    expect(await vm.files.readText(path)).toBe('grüße\n');
    await vm.files.write(path, 'more', { append: true });
    expect(await vm.files.readText(path, { offset: 6, length: 4 })).toBe('e\nmo'.slice(0, 4));
    // The file that is replaced keeps its mode and owner, and a link to it stays one.
    await vm.files.symlink('made/some.txt', '/srv/link');
    const bytes = randomBytes(3 * MIB + 17);
    await vm.files.write('/srv/link', bytes);
    expect(await shell(`stat -c '%a %u %g %s' ${path}; readlink /srv/link`)).toBe(
      `640 7 8 ${bytes.length}\nmade/some.txt`,
    );
    expect((await vm.files.read(path)).equals(bytes)).toBe(true);
    expect((await buffer(vm.files.readStream(path))).equals(bytes)).toBe(true);
    await expect(vm.files.read(path, { maxBytes: MIB })).rejects.toMatchObject({ code: 'GUEST_FILE_LIMIT' });
    async function* breaksOff() {
      yield bytes;
      throw new Error('no more');
    }
    await expect(vm.files.write(path, breaksOff())).rejects.toMatchObject({ code: 'HOST_FILE_FAILED' });
    expect((await vm.files.stat(path)).size).toBe(bytes.length);
    // What was written of it goes when the guest has seen the end of the stream.
    await vm.files.write('/proc/sys/kernel/hostname', 'renamed', { atomic: false });
    expect(await shell('uname -n; while ls -A /srv/made | grep -q smartvm; do :; done; ls -A /srv/made')).toBe(
      'renamed\nsome.txt',
    );
    expect(Number(await vm.files.readText('/proc/self/stat').then((text) => text.length))).toBeGreaterThan(0);
    await expect(vm.files.read('/dev/zero')).rejects.toMatchObject(failed('EINVAL'));
    await expect(vm.files.read('/srv')).rejects.toMatchObject(failed('EISDIR'));
    await expect(vm.files.read('relative')).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    const reading = vm.files.readStream('/proc/kcore');
    await once(reading, 'readable');
    reading.destroy();
  });

  it.skipIf(isSecondRun(init))('makes, lists, moves and removes what has any name', async () => {
    await vm.files.mkdir('/srv/names/deep/er', { recursive: true, mode: 0o700 });
    await vm.files.mkdir('/srv/names/deep/er', { recursive: true });
    await expect(vm.files.mkdir('/srv/names/deep')).rejects.toMatchObject(failed('EEXIST'));
    const odd = Buffer.concat([Buffer.from('/srv/names/'), Buffer.from([0xff, 0x0a, 0x1b, 0x5b])]);
    await vm.files.write(odd, 'odd');
    await vm.files.symlink('/no/where', '/srv/names/dangling');
    const entries = await vm.files.list('/srv/names');
    expect(entries.map(({ type }) => type).sort()).toEqual(['directory', 'file', 'symlink']);
    const found = entries.find(({ type }) => type === 'file');
    expect(found?.path).toEqual(odd);
    expect(found && (await vm.files.readText(found.path))).toBe('odd');
    expect(await vm.files.readlink('/srv/names/dangling')).toBe('/no/where');
    expect(await vm.files.exists('/srv/names/dangling')).toBe(true);
    await expect(vm.files.stat('/srv/names/dangling', { follow: true })).rejects.toMatchObject(failed('ENOENT'));
    expect(await vm.files.exists('/srv/names/none')).toBe(false);
    await vm.files.rename(odd, '/srv/names/plain\nname');
    await vm.files.chmod('/srv/names', 0o1750, { recursive: true });
    await vm.files.chown('/srv/names', { uid: 5 }, { recursive: true });
    expect(await shell("cd /srv/names && stat -c '%a %u %g' . deep/er plain*; stat -c %u dangling")).toBe(
      '1750 5 0\n1750 5 0\n1750 5 0\n5',
    );
    await expect(vm.files.remove('/srv/names')).rejects.toMatchObject(failed('ENOTEMPTY'));
    await vm.files.remove('/srv/names', { recursive: true });
    await expect(vm.files.remove('/srv/names')).rejects.toMatchObject(failed('ENOENT'));
    await vm.files.remove('/srv/names', { force: true });
    await shell('mkdir /srv/many && cd /srv/many && seq 10000 | xargs touch');
    const names = new Set((await vm.files.list('/srv/many')).map(({ name }) => name));
    expect(names.size).toBe(10_000);
    await expect(vm.files.list('/srv/many', { maxEntries: 10 })).rejects.toMatchObject({ code: 'GUEST_FILE_LIMIT' });
    await vm.files.remove('/srv/many', { recursive: true });
  });

  it('carries trees there and back with modes, times, links, holes and odd names', async () => {
    const tree = scratch.file('tree');
    await mkdir(`${tree}/closed/deep`, { recursive: true });
    await writeFile(`${tree}/closed/deep/run`, '#!/bin/sh\n', { mode: 0o755 });
    await writeFile(`${tree}/closed/empty`, '');
    await symlink('../../outside', `${tree}/closed/away`);
    await writeFile(`${tree}/big`, randomBytes(2 * MIB + 1));
    await link(`${tree}/big`, `${tree}/same`);
    const odd = Buffer.concat([Buffer.from(`${tree}/`), Buffer.from([0xfe, 0x0a])]);
    await writeFile(odd, 'odd');
    execFileSync('mkfifo', [`${tree}/pipe`]);
    await using sparse = await open(`${tree}/sparse`, 'w');
    await sparse.write('begin', 0);
    await sparse.write('middle', 64 * MIB + 5);
    await sparse.truncate(128 * MIB);
    await utimes(`${tree}/closed/deep/run`, 1, 1234567890.5);
    await utimes(`${tree}/closed`, 1, 1000000000);
    const seen: string[] = [];
    const sentTree = await vm.files.upload(tree, '/srv/t', { onProgress: ({ path }) => seen.push(path) });
    expect(sentTree).toMatchObject({ entries: 10, skipped: [{ path: 'pipe', errno: 'ENOTSUP' }] });
    expect(sentTree.bytes).toBeLessThan(3 * MIB);
    expect(seen).toContain('closed/deep/run');
    expect(
      await shell("cd /srv/t && stat -c '%a %Y' closed/deep/run closed && readlink closed/away && stat -c %h big"),
    ).toBe('755 1234567890\n755 1000000000\n../../outside\n2');
    expect(Number(await shell('du -k /srv/t/sparse | cut -f1'))).toBeLessThan(1024);
    await shell('cd /srv/t && chmod 4755 closed/deep/run && mkfifo fifo');
    const back = scratch.file('back/tree');
    const got = await vm.files.download('/srv/t', back, { parents: true });
    expect(got.skipped).toEqual([{ path: 'fifo', errno: 'ENOTSUP' }]);
    expect(got.bytes).toBeLessThan(3 * MIB);
    execFileSync('diff', ['-r', '--no-dereference', '-x', 'pipe', tree, back]);
    expect((await lstat(`${back}/closed/deep/run`)).mode & 0o7777).toBe(0o755);
    expect((await stat(`${back}/closed/deep/run`)).mtimeMs).toBe(1234567890500);
    expect((await stat(`${back}/closed`)).mtimeMs).toBe(1000000000000);
    expect((await stat(`${back}/big`)).ino).toBe((await stat(`${back}/same`)).ino);
    expect(await readlink(`${back}/closed/away`)).toBe('../../outside');
    const status = await stat(`${back}/sparse`);
    expect([status.size, status.blocks < 2048]).toEqual([128 * MIB, true]);
    await expect(vm.files.download('/srv/t', scratch.file('few'), { maxEntries: 3 })).rejects.toMatchObject({
      code: 'GUEST_FILE_LIMIT',
    });
    await expect(vm.files.download('/srv/t/big', scratch.file('small'), { maxBytes: MIB })).rejects.toMatchObject({
      code: 'GUEST_FILE_LIMIT',
    });
    await expect(stat(scratch.file('small'))).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(vm.files.upload(scratch.file('none'), '/srv/none')).rejects.toMatchObject({
      code: 'HOST_FILE_FAILED',
    });
    await vm.files.remove('/srv/t', { recursive: true });
  });

  it('leaves out a file that fails while it is read, and makes what a link leads to', async () => {
    // Reading this one fails while no secret is set.
    const { skipped } = await vm.files.download('/proc/sys/net/ipv6/conf/lo', scratch.file('conf'));
    expect(skipped).toContainEqual({ path: 'stable_secret', errno: 'EIO' });
    expect(await readFile(scratch.file('conf/mtu'), 'utf8')).toBe('65536\n');
    await vm.files.mkdir('/srv/slash/', { recursive: true, mode: 0o750 });
    await vm.files.symlink('slash/new', '/srv/ahead');
    await vm.files.write('/srv/ahead', 'words');
    expect(await shell('stat -c %a /srv/slash; readlink /srv/ahead; cat /srv/slash/new')).toBe('750\nslash/new\nwords');
    await shell('rm -r /srv/slash /srv/ahead');
  });

  it.skipIf(isSecondRun(init))('carries a file of 4 GiB that is nearly all hole, both ways', async () => {
    const path = scratch.file('holes');
    await using file = await open(path, 'w');
    await file.write('x', 4 * GIB - 1);
    await vm.files.upload(path, '/srv/holes');
    expect(await vm.files.stat('/srv/holes')).toMatchObject({ size: 4 * GIB });
    const { bytes } = await vm.files.download('/srv/holes', scratch.file('holes-back'));
    expect(bytes).toBeLessThanOrEqual(64 * 1024);
    const back = await stat(scratch.file('holes-back'));
    expect([back.size, back.blocks < 1024]).toEqual([4 * GIB, true]);
    await vm.files.remove('/srv/holes');
  });

  it('says that the disk of the guest is full, and leaves what was there', async () => {
    await shell('mkdir /srv/full && mount -t tmpfs -o size=1m tmpfs /srv/full && echo old > /srv/full/file');
    const big = randomBytes(8 * MIB);
    await expect(vm.files.write('/srv/full/file', big)).rejects.toMatchObject(failed('ENOSPC'));
    await writeFile(scratch.file('large'), big);
    await expect(vm.files.upload(scratch.file('large'), '/srv/full/large')).rejects.toMatchObject(failed('ENOSPC'));
    expect(await shell('ls -A /srv/full; cat /srv/full/file')).toBe('file\nold');
    // A file that goes while it is read is read to its end all the same: it is open.
    await shell('rm /srv/full/file; head -c 900000 /dev/urandom > /srv/full/file');
    const reading = vm.files.readStream('/srv/full/file');
    await once(reading, 'readable');
    await vm.files.remove('/srv/full/file');
    expect((await buffer(reading)).length).toBe(900_000);
    await shell('umount /srv/full');
    const aborted = AbortSignal.abort();
    await expect(vm.files.list('/srv', { signal: aborted })).rejects.toMatchObject({ code: 'CANCELED' });
    const ending = new AbortController();
    const uploading = vm.files.upload(scratch.file('large'), '/srv/large', {
      signal: ending.signal,
      onProgress: () => ending.abort(),
    });
    await expect(uploading).rejects.toMatchObject({ code: 'CANCELED' });
    await shell('while ls -A /srv | grep -q smartvm; do :; done; ! test -e /srv/large');
  });

  it('watches a tree, with what is made in it later', async () => {
    await vm.files.mkdir('/srv/watched/old', { recursive: true });
    await using watcher = await vm.files.watch('/srv/watched', { recursive: true });
    const seen: FileChange[] = [];
    const loop = (async () => {
      for await (const change of watcher) {
        seen.push(change);
      }
    })();
    await shell(
      'cd /srv/watched && mkdir -p a/b && echo x > a/b/f && mv a/b/f old/g && chmod 600 old/g && rm old/g && rm -r /srv/watched',
    );
    await loop; // the directory itself has gone
    const kindsOf = (path: string) => seen.filter((change) => change.path === path).map(({ kind }) => kind);
    expect(kindsOf('/srv/watched/a')[0]).toBe('create');
    expect(kindsOf('/srv/watched/a/b')[0]).toBe('create');
    expect(kindsOf('/srv/watched/a/b/f').at(-1)).toBe('move-from');
    expect(kindsOf('/srv/watched/old/g')).toEqual(['move-to', 'attributes', 'remove']);
    const moved = seen.filter(({ kind }) => kind.startsWith('move'));
    expect(new Set(moved.map(({ cookie }) => cookie)).size).toBe(1);
    expect(kindsOf('/srv/watched')).toContain('remove');
    await expect(vm.files.watch('/srv/watched')).rejects.toMatchObject(failed('ENOENT'));
    const other = await vm.files.watch('/srv');
    const next = other[Symbol.asyncIterator]().next();
    other.close();
    expect(await next).toMatchObject({ done: true });
  });

  it('is smartvm cp too', async () => {
    await writeFile(scratch.file('note'), 'hello');
    await mkdir(scratch.file('folder'));
    const cp = async (...args: string[]) => await cli(bench.runtimeDir, 'cp', ...args).end();
    const done = { exitCode: 0, stdout: '', stderr: '' };
    expect(await cp(scratch.file('note'), 'files:srv')).toEqual(done);
    expect(await vm.files.readText('/srv/note')).toBe('hello');
    await shell('mkdir /srv/tree && cp /srv/note "/srv/tree/a b" && mkfifo /srv/tree/pipe');
    const { exitCode, stderr } = await cp('files:/srv/tree', scratch.file('folder'));
    expect([exitCode, stderr]).toEqual([0, expect.stringContaining('left out pipe: ENOTSUP')]);
    expect(await readFile(scratch.file('folder/tree/a b'), 'utf8')).toBe('hello');
    expect(await cp(`${scratch.file('folder')}/.`, 'files:/srv/made/by/cp')).toMatchObject({ exitCode: 125 });
    expect(await cp('-p', `${scratch.file('folder')}/.`, 'files:/srv/made/by/cp')).toEqual(done);
    expect(await vm.files.readText('/srv/made/by/cp/tree/a b')).toBe('hello');
    const lost = await cp('files:/srv/no-such', scratch.file('again'));
    expect([lost.exitCode, lost.stderr]).toEqual([125, expect.stringContaining('GUEST_FILE_FAILED')]);
    expect(await cp('a', './b:c')).toMatchObject({ exitCode: 125, stderr: expect.stringContaining('VM:PATH') });
  });

  it('leaves no part of a file when Ctrl-C ends smartvm cp', async () => {
    await writeFile(scratch.file('large'), randomBytes(48 * MIB));
    await mkdir(scratch.file('stopped'));
    const parts = async () => (await shell('ls -A /srv/stopped')).length;
    await shell('mkdir /srv/stopped && head -c 48M /dev/zero > /dev/shm/large');
    const up = cli(bench.runtimeDir, 'cp', scratch.file('large'), 'files:/srv/stopped');
    await until(async () => (await parts()) > 0, 60_000, 'a part in the guest');
    up.child.kill('SIGINT');
    expect(await up.exitCode()).toBe(130);
    await until(async () => (await parts()) === 0, 60_000, 'the part to go');
    const down = cli(bench.runtimeDir, 'cp', 'files:/dev/shm/large', scratch.file('stopped'));
    await until(async () => (await readdir(scratch.file('stopped'))).length > 0, 60_000, 'a part on the host');
    down.child.kill('SIGINT');
    expect(await down.exitCode()).toBe(130);
    expect(await readdir(scratch.file('stopped'))).toEqual([]);
  });
});
