import { expect, test } from 'vitest';
import type { Verdict } from '../../ts/doctor/finding.js';
import type { HostOptions } from '../../ts/doctor/host.js';
import { PlantedHost } from './planted-host.js';

/** What is wrong with a host, and what the one check says that is about it. */
export interface Fault {
  what: string;
  id: string;
  plant: (host: PlantedHost) => Promise<unknown>;
  verdict: Verdict;
  detail: RegExp;
  remedy?: RegExp;
  options?: HostOptions;
}

export const plant = (path: string, text: string) => (host: PlantedHost) => host.plant(path, text);
export const remove = (path: string) => (host: PlantedHost) => host.remove(path);

export const IS_ROOT = process.getuid?.() === 0;

/** A test for each: its check finds it and says it once, and no other fails. */
export function testFaults(faults: readonly Fault[], isPossible = true): void {
  test.runIf(isPossible).each(faults)('$what: $id says $verdict', async ({ plant, id, options, ...expected }) => {
    await using host = await PlantedHost.healthy();
    await plant(host);
    const all = await host.findings(undefined, options);
    const own = all.filter((finding) => finding.id === id);
    expect(own).toMatchObject([{ verdict: expected.verdict, detail: expect.stringMatching(expected.detail) }]);
    expect(own[0]?.remedy ?? '').toMatch(expected.remedy ?? /^/);
    const others = all.filter((finding) => finding.id !== id && finding.verdict === 'fail');
    expect(others.filter((finding) => !finding.id.endsWith('-space'))).toEqual([]);
  });
}
