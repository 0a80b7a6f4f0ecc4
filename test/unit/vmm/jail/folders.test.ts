import { link, lstat, mkdir, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { assertSocketsOnly, ownEntries, seal } from '../../../../ts/vmm/jail/folders.js';
import { type ScratchDirectory, scratchDirectory } from '../../../support/scratch.js';

const UID = 1_899_999_998;

let scratch: ScratchDirectory;
let servers: Server[];

beforeEach(async () => {
  scratch = await scratchDirectory();
  servers = [];
});

afterEach(async () => {
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  await scratch[Symbol.asyncDispose]();
});

async function listenAt(name: string): Promise<void> {
  const server = createServer();
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(scratch.file('vmm', name), resolve));
}

describe.skipIf(process.getuid?.() !== 0)('the folder of a VMM (needs root)', () => {
  beforeEach(async () => {
    await mkdir(scratch.file('vmm'));
    await listenAt('api.sock');
    await writeFile(scratch.file('vmm', 'overlay.img'), '');
    await ownEntries(scratch.file('vmm'), UID);
  });

  test('is sealed with the files and sockets that are the VMM’s in it', async () => {
    await seal(scratch.file('vmm'), UID);
    const { uid, mode } = await lstat(scratch.file('vmm'));
    expect([uid, mode & 0o7777]).toEqual([0, 0o711]);
    expect((await lstat(scratch.file('vmm', 'api.sock'))).uid).toBe(UID);
  });

  test.each([
    ['a link', () => symlink('/etc/passwd', scratch.file('vmm', 'vsock.sock'))],
    ['a file under the name of a socket', () => writeFile(scratch.file('vmm', 'vsock.sock'), '')],
    ['a folder', () => mkdir(scratch.file('vmm', 'folder'))],
    ['a file that has another name too', () => link(scratch.file('vmm', 'overlay.img'), scratch.file('other'))],
  ])('is not sealed with %s in it', async (_what, plant) => {
    await plant();
    await ownEntries(scratch.file('vmm'), UID);
    await expect(seal(scratch.file('vmm'), UID)).rejects.toMatchObject({
      code: 'JAIL_FAILED',
      message: expect.stringContaining(scratch.file('vmm')),
    });
  });

  test('is not sealed with what belongs to somebody else', async () => {
    await writeFile(scratch.file('vmm', 'new'), '');
    await expect(seal(scratch.file('vmm'), UID)).rejects.toMatchObject({ code: 'JAIL_FAILED' });
  });
});

describe('assertSocketsOnly', () => {
  test('takes a folder that is empty, absent, or has the sockets of this vsock', async () => {
    await mkdir(scratch.file('vmm'));
    await assertSocketsOnly(scratch.file('vmm', 'v.sock'));
    await listenAt('v.sock_52');
    await assertSocketsOnly(scratch.file('vmm', 'v.sock'));
    await assertSocketsOnly(scratch.file('absent', 'v.sock'));
  });

  test('refuses one that holds anything else, which the VMM could change', async () => {
    await writeFile(scratch.file('key'), '');
    await expect(assertSocketsOnly(scratch.file('v.sock'))).rejects.toMatchObject({
      code: 'JAIL_PATH_UNREADABLE',
      message: expect.stringMatching(/holds key.*folder of its own/),
    });
  });
});
