import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { MOUNTINFO, parseMountinfo } from '../../../ts/util/mountinfo.js';

test('mounts with any number of optional fields, and with spaces in their places', () => {
  const text = [
    '36 35 98:0 /a\\040b /mnt/c\\011d rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue',
    '25 20 0:22 / /sys/fs/cgroup rw - cgroup2 none rw',
    '26 20 0:23 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct',
    'what is no mount',
    '',
  ].join('\n');
  expect(parseMountinfo(text)).toEqual([
    { root: '/a b', point: '/mnt/c\td', type: 'ext3', superOptions: ['rw', 'errors=continue'] },
    { root: '/', point: '/sys/fs/cgroup', type: 'cgroup2', superOptions: ['rw'] },
    { root: '/', point: '/sys/fs/cgroup/cpu', type: 'cgroup', superOptions: ['rw', 'cpu', 'cpuacct'] },
  ]);
});

test('every line of this host', () => {
  const text = readFileSync(MOUNTINFO, 'utf8');
  expect(parseMountinfo(text)).toHaveLength(text.trim().split('\n').length);
});
