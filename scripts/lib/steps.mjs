import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { goEnvironment } from './go-toolchain.mjs';
import { inRoot, ROOT, tool } from './package.mjs';
import { checkPackage } from './package-checks.mjs';
import { Failure, run } from './process.mjs';
import { goTally, vitestTally } from './tally.mjs';

const node = (path, ...args) => run(process.execPath, [path, ...args], { cwd: ROOT });
const go = async (program, ...args) => run(program, args, { cwd: inRoot('go'), env: await goEnvironment() });

/**
 * What `npm test` does. A step fails by throwing; one that runs tests gives their tally, and any other counts as one test.
 * Those of `side` take one CPU each, if that, and run two at a time; the others have the machine for themselves.
 */
export const STEPS = {
  side: [
    // Makes the image that the tests share where there is none, beside other work.
    ['boot', () => node('bin/smartvm', 'run', '--', 'true')],
    ['lint', () => node(tool('biome'), 'ci', '.')],
    ['types', () => node(tool('tsc'), '--noEmit', '-p', 'tsconfig.json')],
    ['generated-types', () => node('scripts/generate.mjs', '--check')],
    ['knip', () => node(tool('knip'))],
    ['go-vet', () => go('go', 'vet', './...')],
    ['go-format', gofmt],
    ['go-test', goTest],
    ['package', checkPackage],
    ['qemu-version', () => node('bin/smartvm-qemu', '--version')],
  ],
  alone: [
    ['unit', () => vitest('unit')],
    ['integration', () => vitest('integration')],
  ],
};

async function gofmt() {
  const { stdout } = await go('gofmt', '-l', '.');
  if (stdout !== '') {
    throw new Failure(`not as gofmt writes it:\n${stdout.trim()}`);
  }
}

async function goTest() {
  const options = { cwd: inRoot('go'), env: await goEnvironment(), check: false, stdout: true };
  const { code, stdout } = await run('go', ['test', '-json', './...'], options);
  return goTally(stdout, code);
}

async function vitest(project) {
  const folder = mkdtempSync(join(tmpdir(), 'smartvm-test-'));
  try {
    const report = join(folder, 'report.json');
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
    const args = [tool('vitest'), 'run', '--project', project, ...reporters];
    const { code } = await run(process.execPath, args, { cwd: ROOT, show: true, check: false });
    return vitestTally(readFileSync(report, 'utf8'), code);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
