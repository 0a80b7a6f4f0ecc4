import { chmod, chown, lchown } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { type Fault, IS_ROOT, testFaults } from '../../support/planted-fault.js';
import { PlantedHost } from '../../support/planted-host.js';

const FAULTS: Fault[] = [
  {
    what: 'a path that is too long for sockets',
    id: 'socket-paths',
    plant: (host) => host.directory('/run/a-rather-long-directory', 0o700),
    options: { runtimeDir: '/run/a-rather-long-directory' },
    verdict: 'warn',
    detail: /ids have 57 characters at most, not 64/,
    remedy: /SMARTVM_RUNTIME_DIR/,
  },
  {
    what: 'a path that is too long for any VM',
    id: 'socket-paths',
    plant: (host) => host.directory(`/run/${'x'.repeat(80)}`, 0o700),
    options: { runtimeDir: `/run/${'x'.repeat(80)}` },
    verdict: 'fail',
    detail: /ids have 0 characters/,
  },
  {
    what: 'a parent that all can write',
    id: 'data-directory',
    plant: (host) => host.directory('/var/lib', 0o777),
    verdict: 'fail',
    detail: /every user can write to the directory \/var\/lib \(mode 0777\)/,
    remedy: /^chmod o-w \/var\/lib$/,
  },
  {
    what: 'a directory that all can write',
    id: 'runtime-directory',
    plant: (host) => host.directory('/run/smartvm', 0o1777),
    verdict: 'fail',
    detail: /others can write to \/run\/smartvm \(mode 1777\)/,
  },
  {
    what: 'a directory that all can read',
    id: 'runtime-directory',
    plant: (host) => host.directory('/run/smartvm', 0o755),
    verdict: 'info',
    detail: /is open to others/,
    remedy: /chmod 700/,
  },
  {
    what: 'a link in place of the directory',
    id: 'data-directory',
    plant: (host) => host.link('/var/lib/smartvm', '/run/smartvm'),
    verdict: 'fail',
    detail: /is a link/,
  },
  {
    what: 'a file in place of the directory',
    id: 'data-directory',
    plant: async (host) => {
      await host.remove('/var/lib/smartvm');
      await host.plant('/var/lib/smartvm', '');
    },
    verdict: 'fail',
    detail: /not a directory/,
  },
  {
    what: 'a directory that anybody can make first',
    id: 'runtime-directory',
    plant: async (host) => {
      await host.remove('/run/smartvm');
      await host.directory('/run', 0o1777);
    },
    verdict: 'warn',
    detail: /any user can make it first/,
    remedy: /install -d -m 700/,
  },
  {
    what: 'a program that all can write',
    id: 'executables',
    plant: (host) => chmod(host.at('/usr/bin/jailer'), 0o777),
    verdict: 'fail',
    detail: /every user can write to the file \/usr\/bin\/jailer/,
  },
];

/** What only root can plant, or what matters to root alone. */
const FAULTS_OF_ROOT: Fault[] = [
  {
    what: 'a directory of another user',
    id: 'data-directory',
    plant: (host) => chown(host.at('/var/lib/smartvm'), 1234, 1234),
    verdict: 'fail',
    detail: /belongs to uid 1234, not to uid 0/,
  },
  {
    what: 'a parent of another user',
    id: 'runtime-directory',
    plant: (host) => chown(host.at('/run'), 1234, 0),
    verdict: 'fail',
    detail: /the directory \/run belongs to uid 1234/,
  },
  {
    what: 'a parent that a group can write',
    id: 'data-directory',
    plant: async (host) => {
      await host.directory('/var/lib', 0o775);
      await chown(host.at('/var/lib'), 0, 1234);
    },
    verdict: 'warn',
    detail: /the group 1234 can write/,
    remedy: /chmod g-w/,
  },
  {
    what: 'a link of another user on the way',
    id: 'runtime-directory',
    plant: async (host) => {
      await host.link('/var/run', '../run');
      await lchown(host.at('/var/run'), 1234, 1234);
    },
    options: { runtimeDir: '/var/run/smartvm' },
    verdict: 'fail',
    detail: /the link \/var\/run belongs to uid 1234/,
  },
  {
    what: 'a program of another user',
    id: 'executables',
    plant: (host) => chown(host.at('/usr/bin/firecracker'), 1234, 1234),
    verdict: 'fail',
    detail: /the file \/usr\/bin\/firecracker belongs to uid 1234/,
  },
];

describe('a fault', () => {
  testFaults(FAULTS);
  testFaults(FAULTS_OF_ROOT, IS_ROOT);
});

describe('links', () => {
  test("a link of one's own on the way is followed, and what is behind it looked at", async () => {
    await using host = await PlantedHost.healthy();
    await host.link('/var/run', '../run');
    const options = { runtimeDir: '/var/run/smartvm' };
    expect(await host.findings('runtime-directory', options)).toMatchObject([{ verdict: 'ok' }]);
    await host.directory('/run', 0o777);
    expect(await host.findings('runtime-directory', options)).toMatchObject([
      { verdict: 'fail', detail: expect.stringContaining('every user can write to the directory /run') },
    ]);
  });

  test('links that go in a circle end', async () => {
    await using host = await PlantedHost.healthy();
    await host.link('/var/a', 'b');
    await host.link('/var/b', 'a');
    expect(await host.findings('data-directory', { dataDir: '/var/a/x' })).toHaveLength(1);
  });
});
