import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readdir } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PACKAGE_ROOT } from '../../../ts/util/package-root.js';
import { run } from '../../../ts/util/run.js';
import { type ArtifactServer, artifactServer } from '../../support/artifact-server.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

const DATA = randomBytes(300_000);
const SHA256 = createHash('sha256').update(DATA).digest('hex');
const FIXTURE = ['--import', 'tsx', join(PACKAGE_ROOT, 'test/fixtures/download.ts')];

let scratch: ScratchDirectory;
let server: ArtifactServer;
let answer: (response: ServerResponse) => void;

beforeEach(async () => {
  scratch = await scratchDirectory();
  answer = (response) => void response.writeHead(200, { 'content-length': DATA.length }).end(DATA);
  server = await artifactServer((_request, response) => answer(response));
});

afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await scratch[Symbol.asyncDispose]();
});

describe('a program that downloads', () => {
  test('leaves no final file when it is killed in the middle', async () => {
    answer = (response) =>
      void response.writeHead(200, { 'content-length': DATA.length }).write(DATA.subarray(0, 65_536));
    const child = spawn(process.execPath, [...FIXTURE, server.url('/a.bin'), scratch.file('a.bin')], {
      cwd: PACKAGE_ROOT,
    });
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'exit');
    const left = await readdir(scratch.path);
    expect(left).toEqual([expect.stringMatching(/^a\.bin\.[0-9a-f-]{36}\.part$/)]);
  });

  test('a disk that is full leaves nothing', async () => {
    // A file of at most 64 KiB stands for a small disk where this user may not mount one.
    const limited = ['--fsize=65536', process.execPath, ...FIXTURE, server.url('/a.bin'), scratch.file('a.bin')];
    const output = await run('prlimit', limited, { cwd: PACKAGE_ROOT });
    expect(output.toString().trim().split('\n').at(-1)).toBe('FILE_WRITE_FAILED EFBIG');
    expect(await readdir(scratch.path)).toEqual([]);
  });

  test.each([
    ['the file', 0],
    ['its folder', 1],
  ])('a disk that cannot take %s when it is to (fsync) leaves nothing, and a retry works', async (_what, succeed) => {
    const source = `#include <errno.h>
      static int calls;
      int fsync(int fd) { return calls++ < ${succeed} ? 0 : (errno = EIO, -1); }
      int fdatasync(int fd) { return fsync(fd); }`;
    const shim = scratch.file('fsync.so');
    await run('gcc', ['-shared', '-fPIC', '-x', 'c', '-o', shim, '-'], { input: source });
    const program = [...FIXTURE, server.url('/a.bin'), scratch.file('a.bin')];
    const last = async (preload: string) =>
      (await run(process.execPath, program, { cwd: PACKAGE_ROOT, env: { ...process.env, LD_PRELOAD: preload } }))
        .toString()
        .trim()
        .split('\n')
        .at(-1);
    expect(await last(shim)).toBe('FILE_WRITE_FAILED EIO');
    expect(await readdir(scratch.path)).toEqual(['fsync.so']);
    expect(await last('')).toBe(SHA256);
  });

  test.runIf(process.getuid?.() === 0)('so does a small file system', async () => {
    await mkdir(scratch.file('disk'));
    const script = 'mount -t tmpfs -o size=64k small "$1" && shift && "$@"; ls -A "$DISK"';
    const command = [process.execPath, ...FIXTURE, server.url('/a.bin'), scratch.file('disk', 'a.bin')];
    const output = await run('unshare', ['--mount', '--', 'sh', '-c', script, 'sh', scratch.file('disk'), ...command], {
      cwd: PACKAGE_ROOT,
      env: { ...process.env, DISK: scratch.file('disk') },
    });
    expect(output.toString().trim().split('\n').at(-1)).toBe('FILE_WRITE_FAILED ENOSPC');
  });
});
