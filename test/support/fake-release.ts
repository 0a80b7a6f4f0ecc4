import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { run } from '../../ts/util/run.js';
import { hostArch } from '../../ts/vmm/host.js';
import { type ArtifactServer, artifactServer } from './artifact-server.js';
import type { ScratchDirectory } from './scratch.js';

export interface FakeRelease {
  readonly version: string;
  /** What its programs print after their name; the version by default. */
  readonly prints?: Partial<Record<'firecracker' | 'jailer', string>>;
  /** Changes the unpacked folder `release-v…` before it is packed. */
  readonly spoil?: (folder: string) => Promise<unknown>;
  /** In place of the published sha256. */
  readonly sha256?: string;
}

/** The content of a program that only knows `--version`. */
export function printer(name: string, version: string): string {
  return `#!/bin/sh\necho '${name} v${version}'\n`;
}

/** The archive of a release with the layout of Firecracker's own. Its programs only print their version. */
async function packRelease(scratch: ScratchDirectory, { version, prints = {}, spoil }: FakeRelease): Promise<Buffer> {
  const folder = `release-v${version}-${hostArch()}`;
  const path = scratch.file('release', folder);
  await mkdir(path, { recursive: true });
  for (const program of ['firecracker', 'jailer', 'seccompiler-bin'] as const) {
    const printed = prints[program as 'jailer'] ?? version;
    const name = `${program[0]?.toUpperCase()}${program.slice(1)}`;
    await writeFile(`${path}/${program}-v${version}-${hostArch()}`, printer(name, printed), { mode: 0o755 });
  }
  await spoil?.(path);
  await run('tar', [
    '--create',
    '--gzip',
    '--file',
    scratch.file('release.tgz'),
    '-C',
    scratch.file('release'),
    folder,
  ]);
  const archive = await readFile(scratch.file('release.tgz'));
  await rm(scratch.file('release'), { recursive: true });
  await rm(scratch.file('release.tgz'));
  return archive;
}

/** A mirror with these releases, the first of which is the latest. */
export async function releaseServer(scratch: ScratchDirectory, ...releases: FakeRelease[]): Promise<ArtifactServer> {
  const files = new Map<string, Buffer | string>();
  for (const release of releases) {
    const archive = await packRelease(scratch, release);
    const name = `firecracker-v${release.version}-${hostArch()}.tgz`;
    const sha256 = release.sha256 ?? createHash('sha256').update(archive).digest('hex');
    files.set(`/download/v${release.version}/${name}`, archive);
    files.set(`/download/v${release.version}/${name}.sha256.txt`, `${sha256}  ${name}\n`);
  }
  return await artifactServer((request, response) => {
    const file = files.get(request.url ?? '');
    if (request.url === '/latest') {
      response.writeHead(302, { location: `/tag/v${releases[0]?.version}` }).end();
    } else if (file === undefined) {
      response.writeHead(404).end();
    } else {
      response.writeHead(200, { 'content-length': Buffer.byteLength(file) }).end(file);
    }
  });
}
