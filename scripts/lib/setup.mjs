import { build } from './build.mjs';
import { installNodeModules } from './node-modules.mjs';
import { installSystemPackages } from './system-packages.mjs';

/** Makes a clone ready to run, doing only what has not been done. */
export async function setUp(options) {
  await installSystemPackages(options);
  await installNodeModules();
  await build();
}
