import { readFileSync, writeFileSync } from 'node:fs';
import { inRoot, ROOT, readText, sha256 } from './package.mjs';
import { run } from './process.mjs';
import { say } from './say.mjs';

// Inside node_modules, which `npm ci` removes first: an interrupted one leaves no stamp.
const STAMP = inRoot('node_modules/.smartvm-lock');

/** Installs the npm packages of package-lock.json, unless those are what is installed. */
export async function installNodeModules() {
  const wanted = sha256(readFileSync(inRoot('package-lock.json')));
  if (readText(STAMP) === wanted) {
    return;
  }
  say('installing npm packages');
  const quiet = ['--no-audit', '--no-fund', '--no-progress', '--loglevel=error'];
  await run('npm', ['ci', '--ignore-scripts', '--include=dev', ...quiet], { cwd: ROOT });
  writeFileSync(STAMP, wanted);
}
