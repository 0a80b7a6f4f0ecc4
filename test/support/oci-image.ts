import { copyFile, mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { run } from '../../ts/util/run.js';
import { debianPackage } from './debian-package.js';
import { type TarMember, tarArchive } from './tar.js';

export interface TestImage {
  readonly layers: readonly (readonly TarMember[] | Buffer)[];
  /** Flags of `umoci config`. Later ones of a list add to it. */
  readonly config?: readonly string[];
  readonly architecture?: string;
}

/** Adds an image, made of nothing but what is said here, to an OCI layout, which is made where it is missing. */
export async function addImage(layout: string, tag: string, image: TestImage): Promise<void> {
  const reference = `${layout}:${tag}`;
  await run('umoci', ['init', '--layout', layout]).catch(() => undefined); // it is there
  await run('umoci', ['new', '--image', reference]);
  for (const [index, layer] of image.layers.entries()) {
    const file = `${layout}-${tag}-${index}.tar`;
    await writeFile(file, Buffer.isBuffer(layer) ? layer : tarArchive(layer as readonly TarMember[]));
    await run('umoci', ['raw', 'add-layer', '--image', reference, file]);
  }
  const { architecture = 'amd64', config = [] } = image;
  const common = ['--image', reference, '--architecture', architecture, '--os', 'linux'];
  const created = ['--created', '2024-01-02T03:04:05Z', '--no-history'];
  await run('umoci', ['config', ...common, ...created, ...config]);
}

/** A static busybox, with all its applets behind their names where it is at /bin/busybox. */
export async function busybox(): Promise<string> {
  return join(await debianPackage('busybox-static'), 'bin/busybox');
}

/** A tree with nothing but busybox as /bin/busybox and some of its applets. */
export async function busyboxTree(folder: string, applets: readonly string[]): Promise<void> {
  const target = join(folder, 'bin/busybox');
  await mkdir(dirname(target), { recursive: true });
  await copyFile(await busybox(), target);
  for (const applet of applets) {
    await symlink('busybox', join(folder, 'bin', applet));
  }
}
