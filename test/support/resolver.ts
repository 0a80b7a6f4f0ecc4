import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { DEBIAN_RECIPE } from '../../ts/images/debian-image.js';
import type { Arch, ImageProgress } from '../../ts/images/image-manager.js';
import { ImageStore } from '../../ts/images/store/image-store.js';
import { makeManifest, manifestKey } from '../../ts/images/store/manifests.js';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';

/** What {@link resolver} prints: progress, and `resolved` or `failed` as its last step. */
export type ResolverWord = ImageProgress & { readonly code?: string };

/** Another program that makes an image (test/fixtures/resolve-image.ts). */
export interface Resolver extends AsyncDisposable {
  readonly words: readonly ResolverWord[];
  /** @returns its last word, once it has ended */
  end(): Promise<ResolverWord | undefined>;
  kill(): Promise<void>;
}

/** @param command what starts the program, before its arguments */
export function resolver(command: readonly [string, ...string[]], cacheDir: string, name?: string): Resolver {
  const [program, ...args] = [...command, cacheDir, ...(name === undefined ? [] : [name])];
  const child = spawn(program as string, args, { cwd: PACKAGE_ROOT, stdio: ['ignore', 'pipe', 'inherit'] });
  const words: ResolverWord[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => words.push(JSON.parse(line) as ResolverWord));
  const closed = once(child, 'close');
  const kill = async () => {
    child.kill('SIGKILL');
    await closed;
  };
  return {
    words,
    async end() {
      await closed;
      return words.at(-1);
    },
    kill,
    [Symbol.asyncDispose]: kill,
  };
}

/** Puts an image into a store that passes for Debian's: those that boot by its kernel are made in a moment. */
export async function plantDebian(cacheDir: string, arch: Arch = 'x86_64'): Promise<void> {
  const store = new ImageStore(cacheDir);
  await using session = await store.openSession('debian');
  const put = async (text: string) => await session.putBytes(Buffer.from(text));
  const [kernel, modules, moduleTree] = [await put('kernel'), await put('modules'), await put('all modules')];
  const content = {
    ...{ kernelRelease: '6.1', bootArgs: 'quiet', fsType: 'squashfs' as const },
    blobs: { kernel, modules, moduleTree, rootfs: await put('root') },
  };
  const manifest = makeManifest({ name: 'debian', arch, recipe: DEBIAN_RECIPE }, content);
  await store.manifests.write(manifestKey('debian', 'debian', arch), manifest);
}
