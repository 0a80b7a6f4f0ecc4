import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { VMConfig } from '../../../ts/config/vm-config.js';
import { fullConfig } from './samples.js';

type Path = (string | number)[];

const anything = fc.anything({
  withBigInt: true,
  withBoxedValues: true,
  withDate: true,
  withMap: true,
  withNullPrototype: true,
  withObjectString: true,
  withSet: true,
  withSparseArray: true,
  withTypedArray: true,
});
const uncloneable = fc.constantFrom<unknown>(Symbol('s'), () => 1, new WeakMap(), Promise.resolve(), new Proxy({}, {}));

/** The path of every value in the full configuration, its parts and leaves alike. */
function pathsOf(value: unknown, path: Path = []): Path[] {
  const children = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  const below = children.flatMap(([key, child]) => pathsOf(child, [...path, Array.isArray(value) ? Number(key) : key]));
  return path.length > 0 ? [path, ...below] : below;
}

/** The full configuration with another value at one place. */
function withValueAt(path: Path, value: unknown): unknown {
  const config: unknown = fullConfig();
  let parent = config as Record<string | number, unknown>;
  for (const key of path.slice(0, -1)) {
    parent = parent[key] as Record<string | number, unknown>;
  }
  parent[path.at(-1) ?? ''] = value;
  return config;
}

function judge(config: unknown) {
  const { valid, errors } = new VMConfig(config as never).validate();
  expect(valid).toBe(errors.length === 0);
  for (const error of errors) {
    expect(error).toMatch(/^\S.* (is|must|has) /s);
  }
  return errors;
}

const PATHS = pathsOf(fullConfig());

describe('validate()', () => {
  test('judges anything without throwing', () => {
    fc.assert(
      fc.property(fc.oneof(anything, uncloneable), (config) => void judge(config)),
      { numRuns: 500 },
    );
  });

  test('judges any value at any place without throwing', () => {
    const value = fc.oneof(anything, uncloneable);
    fc.assert(
      fc.property(fc.constantFrom(...PATHS), value, (path, junk) => void judge(withValueAt(path, junk))),
      { numRuns: 1000 },
    );
  });

  test.each(PATHS.map((path) => [path.join('.'), path] as const))('has a check for %s', (_name, path) => {
    expect(judge(withValueAt(path, 0.5))).not.toEqual([]);
    expect(judge(withValueAt(path, null))).not.toEqual([]);
  });

  test('what it accepts comes back unchanged and has every payload', () => {
    const vcpuCount = fc.integer({ min: 1, max: 16 }).map((half) => half * 2);
    const memSizeMib = fc.integer({ min: 256, max: 2 ** 20 }).map((half) => half * 2);
    fc.assert(
      fc.property(vcpuCount, memSizeMib, fc.integer({ min: 3, max: 2 ** 32 - 2 }), (vcpus, memory, guestCid) => {
        const given = fullConfig();
        Object.assign(given.machineConfig, { vcpuCount: vcpus, memSizeMib: memory });
        given.vsock.guestCid = guestCid;
        const config = new VMConfig(given);
        config.assertValid();
        expect(config.config).toStrictEqual(given);
        expect(config.toMachineConfigPayload()).toMatchObject({ vcpu_count: vcpus, mem_size_mib: memory });
        expect(config.toVsockPayload()?.guest_cid).toBe(guestCid);
      }),
    );
  });
});
