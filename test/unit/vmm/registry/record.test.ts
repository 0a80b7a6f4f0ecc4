import { mkdir, readdir, readFile, rename, stat, symlink, writeFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseRecord, renderRecord, UnreadableRecord, withoutSecrets } from '../../../../ts/vmm/registry/record.js';
import { RecordFile, readRecord } from '../../../../ts/vmm/registry/record-file.js';
import { sampleRecord } from '../../../support/record.js';
import { scratchDirectory } from '../../../support/scratch.js';

const problemOf = async (promise: Promise<unknown>) =>
  await promise.then(
    () => 'none',
    (error) => (error instanceof UnreadableRecord ? error.problem : error),
  );
const problemIn = (text: string) => problemOf((async () => parseRecord(text, 'vm-1'))());

describe('a record', () => {
  test('is read as it was written', async () => {
    const record = await sampleRecord({
      name: 'web',
      labels: { tier: 'front' },
      processes: { keeper: { pid: 1, startTime: '2', bootId: 'b' }, vmm: { pid: 3, startTime: '4', bootId: 'b' } },
      journal: { uid: 1_900_000_001, cgroup: 'vm-1.1900000001', taps: ['tap0'], sockets: ['/tmp/a.sock'] },
    });
    expect(parseRecord(renderRecord(record), 'vm-1')).toEqual(record);
  });

  test('has nothing of what the metadata service holds', () => {
    const mmds = { networkInterfaces: ['eth0'], contents: { token: 'secret' } };
    const config = withoutSecrets({ bootSource: { kernelImagePath: '/vmlinux' }, mmds });
    expect(config).toEqual({ bootSource: { kernelImagePath: '/vmlinux' }, mmds: { networkInterfaces: ['eth0'] } });
  });

  test.each([
    ['nothing', '', 'corrupt'],
    ['half of one', '{"version":1,"id":"vm', 'corrupt'],
    ['another kind of thing', '[1]', 'corrupt'],
    ['no version', '{}', 'corrupt'],
    ['a later version, whatever else it says', '{"version":2,"hello":[]}', 'newer'],
    ['nesting without end', `${'['.repeat(200_000)}${']'.repeat(200_000)}`, 'corrupt'],
  ])('of %s is not acted on', async (_what, text, problem) => {
    expect(await problemIn(text)).toBe(problem);
  });

  test.each([
    ['id', '../x'],
    ['id', 'vm-2'],
    ['owner', { pid: -1, startTime: '1', bootId: 'x' }],
    ['owner', { pid: 1, startTime: '1; rm', bootId: 'x' }],
    ['journal', { taps: ['-x'], sockets: [] }],
    ['journal', { taps: [], sockets: ['relative'] }],
    ['journal', { taps: [], sockets: ['/a\0b'] }],
    ['journal', { taps: [], sockets: [], folders: [] }],
    ['journal', { taps: [], sockets: [], cgroup: '../other.1' }],
    ['unknown', 1],
  ])('with the %s %j is corrupt', async (field, value) => {
    expect(await problemIn(JSON.stringify({ ...(await sampleRecord()), [field]: value }))).toBe('corrupt');
  });

  test('with a key that would reach a prototype is corrupt', async () => {
    const text = renderRecord(await sampleRecord());
    for (const key of ['__proto__', 'constructor', 'prototype']) {
      expect(await problemIn(text.replace('"config": {', `"config": { "${key}": { "polluted": true },`))).toBe(
        'corrupt',
      );
    }
  });

  test('of anything at all is a record or an UnreadableRecord', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string(), fc.json()), async (text) => {
        expect(['newer', 'corrupt']).toContain(await problemIn(text));
      }),
    );
  });
});

describe('RecordFile', () => {
  test('makes directory and record in one, for this user alone', async () => {
    await using scratch = await scratchDirectory();
    const umask = process.umask(0);
    const file = await RecordFile.create(scratch.file('vm-1'), await sampleRecord());
    process.umask(umask);
    expect(await readdir(scratch.path)).toEqual(['vm-1']);
    expect(await readdir(scratch.file('vm-1'))).toEqual(['vm.json', 'vmm']);
    for (const [name, mode] of [['.', 0o700] as const, ['vm.json', 0o600] as const, ['vmm', 0o700] as const]) {
      expect((await stat(scratch.file('vm-1', name))).mode & 0o777).toBe(mode);
    }
    expect(await readRecord(scratch.file('vm-1'))).toEqual(file?.record);
  });

  test('of several who make one at once, one succeeds, and leaves what the others find untouched', async () => {
    await using scratch = await scratchDirectory();
    const record = await sampleRecord();
    const files = await Promise.all(
      Array.from({ length: 20 }, (_, n) => RecordFile.create(scratch.file('vm-1'), { ...record, name: `n${n}` })),
    );
    const [made, ...others] = files.filter((file) => file !== undefined);
    expect(others).toEqual([]);
    expect(await readRecord(scratch.file('vm-1'))).toEqual(made?.record);
    expect(await readdir(scratch.path)).toEqual(['vm-1']);
  });

  test('takes neither a file nor a link for a directory of its own', async () => {
    await using scratch = await scratchDirectory();
    await writeFile(scratch.file('file'), 'mine');
    await mkdir(scratch.file('elsewhere'));
    await symlink(scratch.file('elsewhere'), scratch.file('link'));
    for (const name of ['file', 'link']) {
      expect(await RecordFile.create(scratch.file(name), await sampleRecord())).toBeUndefined();
    }
    expect(await readdir(scratch.file('elsewhere'))).toEqual([]);
    expect(await readFile(scratch.file('file'), 'utf8')).toBe('mine');
  });

  test('keeps all of several changes at once', async () => {
    await using scratch = await scratchDirectory();
    const file = await RecordFile.create(scratch.file('vm-1'), await sampleRecord());
    const names = Array.from({ length: 10 }, (_, n) => `/tmp/${n}.sock`);
    await Promise.all([
      ...names.map((path) => file?.journal({ sockets: [path] })),
      file?.journal({ uid: 7, taps: ['tap0'] }),
      file?.update({ detached: true }),
    ]);
    expect(await readRecord(scratch.file('vm-1'))).toMatchObject({
      detached: true,
      journal: { uid: 7, taps: ['tap0'], sockets: names },
    });
    expect(await readdir(scratch.file('vm-1'))).toEqual(['vm.json', 'vmm']);
  });

  test('does not write into the directory of a later VM', async () => {
    await using scratch = await scratchDirectory();
    const first = await RecordFile.create(scratch.file('vm-1'), await sampleRecord());
    await rename(scratch.file('vm-1'), scratch.file('old'));
    await expect(first?.update({ detached: true })).rejects.toMatchObject({ code: 'FILE_WRITE_FAILED' });
    const second = await RecordFile.create(scratch.file('vm-1'), await sampleRecord({ name: 'second' }));
    await expect(first?.update({ detached: true })).rejects.toMatchObject({ code: 'FILE_WRITE_FAILED' });
    expect(await readRecord(scratch.file('vm-1'))).toEqual(second?.record);
  });

  test.each([
    ['absent', async () => undefined, 'missing'],
    ['over a mebibyte', (path: string) => writeFile(path, ' '.repeat(2 ** 20 + 1)), 'corrupt'],
    ['a link', (path: string) => symlink('/etc/passwd', path), 'corrupt'],
    ['a directory', (path: string) => mkdir(path), 'corrupt'],
  ])('of a record that is %s says so', async (_what, plant, problem) => {
    await using scratch = await scratchDirectory();
    await mkdir(scratch.file('vm-1'));
    await plant(scratch.file('vm-1', 'vm.json'));
    expect(await problemOf(readRecord(scratch.file('vm-1')))).toBe(problem);
  });
});
