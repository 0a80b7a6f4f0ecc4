import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';

/** Makes one JavaScript file of a fixture and all that it imports: a program that a test starts by the hundred starts at once so. */
export async function bundleProgram(fixture: string, outfile: string): Promise<void> {
  const inPackage = (...names: string[]) => JSON.stringify(pathToFileURL(join(PACKAGE_ROOT, ...names)).href);
  await build({
    entryPoints: [join(PACKAGE_ROOT, 'test/fixtures', fixture)],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    // Native parts of ssh2, without which it does as well.
    external: ['*.node', 'cpu-features'],
    // Where the package is, by which it finds its own programs; and what CommonJS packages need.
    define: { 'import.meta.url': inPackage('ts/util/package-root.ts') },
    banner: {
      js: `import { createRequire } from 'node:module';
        const [require, __dirname] = [createRequire(${inPackage('package.json')}), ${JSON.stringify(PACKAGE_ROOT)}];`,
    },
    logLevel: 'error',
  });
}
