import { describe, expect, test } from 'vitest';
import { advisoriesFor } from '../../../ts/vmm/advisories.js';

const ids = (program: 'firecracker' | 'jailer', version: string) =>
  advisoriesFor(program, version).map(({ id, when }) => (when ? `${id} ${when}` : id));

describe('advisoriesFor', () => {
  test.each([
    ['0.25.0', ['CVE-2026-1386']],
    ['1.9.12', ['CVE-2026-1386']],
    ['1.13.1', ['CVE-2026-1386']],
    ['1.13.2', []],
    ['1.13.10', []],
    ['1.14.0', ['CVE-2026-1386']],
    ['1.14.1', []],
    ['1.16.0', []],
  ])('jailer %s', (version, expected) => {
    expect(ids('jailer', version)).toEqual(expected);
  });

  test.each([
    ['1.12.9', []],
    ['1.13.0', ['CVE-2026-5747 enablePci']],
    ['1.13.9', ['CVE-2026-5747 enablePci']],
    ['1.14.3', ['CVE-2026-5747 enablePci']],
    ['1.14.4', []],
    ['1.15.0', ['CVE-2026-5747 enablePci']],
    ['1.15.1', []],
    ['1.16.0', ['vsock-after-restore restore']],
    ['1.16.1', []],
    ['2.0.0', []],
  ])('firecracker %s', (version, expected) => {
    expect(ids('firecracker', version)).toEqual(expected);
  });

  test('a tag and a development version count as the release', () => {
    expect(ids('jailer', 'v1.14.0')).toEqual(['CVE-2026-1386']);
    expect(ids('firecracker', '1.16.0-dev')).toEqual(['vsock-after-restore restore']);
    expect(ids('firecracker', '1.17.0-dev')).toEqual([]);
  });

  test.each(['unknown', '1.14', '1.14.0.1', '', 'x1.14.0'])('of %j nothing is known', (version) => {
    expect([...ids('jailer', version), ...ids('firecracker', version)]).toEqual([]);
  });

  test('says what to do', () => {
    expect(advisoriesFor('jailer', '1.14.0')).toEqual([
      expect.objectContaining({
        program: 'jailer',
        affects: '1.13.1 and older, 1.14.0',
        remedy: expect.stringContaining('1.14.1'),
      }),
    ]);
    expect(advisoriesFor('jailer', '1.14.0')[0]).not.toHaveProperty('ranges');
  });
});
