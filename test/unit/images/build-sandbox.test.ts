import { readFileSync, readlinkSync } from 'node:fs';
import { expect, test } from 'vitest';
import { runInBuildSandbox } from '../../../ts/images/build-sandbox.js';

const inside = async (network: boolean | undefined, tool: string, ...args: string[]) =>
  (await runInBuildSandbox(tool, args, { network })).toString().trim();

test.each(['mnt', 'pid', 'ipc', 'uts', 'net'])('a build tool has a %s namespace of its own', async (kind) => {
  const link = `/proc/self/ns/${kind}`;
  expect(await inside(undefined, 'readlink', link)).not.toBe(readlinkSync(link));
});

test('it has no network but for those that ask for one', async () => {
  const routes = '/proc/net/route';
  expect((await inside(undefined, 'cat', routes)).split('\n')).toHaveLength(1); // its heading
  expect(await inside(true, 'readlink', '/proc/self/ns/net')).toBe(readlinkSync('/proc/self/ns/net'));
  expect(await inside(true, 'cat', routes)).toBe(readFileSync(routes, 'utf8').trim());
});
