import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import { BOOT } from '../../ts/vm/boot.js';
import { processesNaming } from '../support/leftovers.js';
import { scratchDirectory } from '../support/scratch.js';

/** Runs an example as its first line says, and gives what it printed. It uses the built package, as a user's code would. */
async function runExample(name: string): Promise<string> {
  await using scratch = await scratchDirectory();
  const runtimeDir = scratch.file('run');
  const { stdout } = await promisify(execFile)(join(PACKAGE_ROOT, 'node_modules/.bin/tsx'), [`examples/${name}`], {
    cwd: PACKAGE_ROOT,
    env: { ...process.env, SMARTVM_RUNTIME_DIR: runtimeDir },
  });
  expect(await processesNaming(runtimeDir)).toEqual([]);
  return stdout;
}

it('hello.ts prints the kernel of the guest', async () => {
  expect(await runExample('hello.ts')).toMatch(/^Linux vm-[0-9a-f]+ \S+-cloud-\w+ .*\nexit code 0\n$/);
});

it('untrusted.ts shows how each script ends', async () => {
  const [failure, memory, loop] = (await runExample('untrusted.ts')).split(/^.*:\n(?=\{)/m).slice(1);
  expect(failure).toMatch(/exitCode: 2,.*stdout: 'started\\n'.*No such file or directory/s);
  expect(memory).toMatch(/exitCode: 1,.*memory exhausted/s);
  expect(loop).toMatch(/timedOut: .*stdout: 'thinking\\n'/s);
});

it('timeline.ts prints when each step ran', async () => {
  const lines = (await runExample('timeline.ts')).trimEnd().split('\n');
  expect(lines.map((line) => line.split(' ')[0]).toSorted()).toEqual(
    BOOT.flat()
      .map(({ name }) => name)
      .toSorted(),
  );
  expect(lines.filter((line) => !/^\S+ +\d+\.\d \+ +\d+\.\d ms {2} *█+$/.test(line))).toEqual([]);
});

it('README.md shows hello.ts as it is', async () => {
  const [readme, hello] = await Promise.all(
    ['README.md', 'examples/hello.ts'].map((file) => readFile(join(PACKAGE_ROOT, file), 'utf8')),
  );
  expect(readme).toContain(`\`\`\`ts\n${hello}\`\`\``);
});
