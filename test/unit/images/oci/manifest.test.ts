import { describe, expect, it } from 'vitest';
import { imageCommand } from '../../../../ts/config/image-config.js';
import { parseConfig } from '../../../../ts/images/oci/config.js';
import { chooseForPlatform, isIndex, parseManifest } from '../../../../ts/images/oci/manifest.js';
import { MAX_RECORD_BYTES } from '../../../../ts/vmm/registry/record.js';

const digest = (digit: string) => `sha256:${digit.repeat(64)}`;
const json = (value: unknown) => Buffer.from(JSON.stringify(value));
const refused = (words: string) =>
  expect.objectContaining({ code: 'IMAGE_REFUSED', message: expect.stringContaining(words) });

describe('a manifest', () => {
  const config = { digest: digest('1'), size: 10 };

  it('is read, and what is none is refused', () => {
    const layers = [{ digest: digest('2'), size: 20, mediaType: 'whatever' }];
    expect(parseManifest(json({ schemaVersion: 2, config, layers }), 'a')).toEqual({
      config,
      layers: [{ digest: digest('2'), size: 20 }],
    });
    const bad: [unknown, string][] = [
      ['text', 'not a JSON object'],
      [{}, 'no manifest'],
      [{ schemaVersion: 1, fsLayers: [] }, 'schema 1'],
      [{ config, layers: [{ digest: 'sha256:../../x', size: 1 }] }, 'without a sha256'],
      [{ config, layers: [{ digest: digest('2'), size: -1 }] }, 'without a sha256'],
      [{ config, layers: Array.from({ length: 600 }, () => layers[0]) }, '600 layers'],
    ];
    for (const [value, words] of bad) {
      expect(() => parseManifest(json(value), 'a')).toThrow(refused(words));
    }
    expect(() => parseManifest(Buffer.from('{'), 'a')).toThrow(refused('not JSON'));
  });

  it('of several platforms gives the one of the guests, and names those there are', () => {
    const entry = (architecture: string, digit: string, more = {}) => ({
      ...{ digest: digest(digit), size: 1 },
      platform: { os: 'linux', architecture, ...more },
    });
    const manifests = [
      entry('arm64', '3', { variant: 'v9' }),
      entry('amd64', '4'),
      entry('arm64', '5', { variant: 'v8' }),
      entry('unknown', '6', { os: 'unknown' }),
    ];
    const index = parseManifest(json({ manifests }), 'a');
    if (!isIndex(index)) {
      throw new Error('not an index');
    }
    expect(chooseForPlatform(index, 'x86_64', 'a').digest).toBe(digest('4'));
    expect(chooseForPlatform(index, 'aarch64', 'a').digest).toBe(digest('5'));
    const others = parseManifest(json({ manifests: [entry('s390x', '7'), manifests[3]] }), 'a');
    expect(() => isIndex(others) && chooseForPlatform(others, 'x86_64', 'a')).toThrow(
      refused('no image for linux/amd64, but for linux/s390x'),
    );
  });
});

describe("an image's configuration", () => {
  const parse = (config: unknown, more = {}) =>
    parseConfig(json({ architecture: 'amd64', os: 'linux', rootfs: { diff_ids: [] }, config, ...more }), 'x86_64', 'a');

  it('is taken with what docker writes in it', () => {
    const { config, created } = parse(
      {
        Env: ['A=b=c', 'EMPTY=', 'NAME'],
        WorkingDir: '/app',
        User: '1000:staff',
        Entrypoint: ['/entry'],
        Cmd: ['serve'],
        ExposedPorts: { '8080/tcp': {}, '53/udp': {}, nonsense: {} },
        StopSignal: 'SIGINT',
        Labels: { z: '1', a: '2', n: 3 },
      },
      { created: '2024-01-02T03:04:05.678Z' },
    );
    expect(config).toEqual({
      env: { A: 'b=c', EMPTY: '' },
      workingDir: '/app',
      user: '1000:staff',
      entrypoint: ['/entry'],
      cmd: ['serve'],
      exposedPorts: ['53/udp', '8080/tcp'],
      stopSignal: 'SIGINT',
      labels: { a: '2', z: '1' },
    });
    expect(created).toBe(Date.UTC(2024, 0, 2, 3, 4, 5) / 1000);
  });

  it('may say nothing', () => {
    expect(parse(null).config).toMatchObject({ env: {}, exposedPorts: [] });
    expect(parse({ Env: null, Cmd: null, Entrypoint: [], User: '' }).config.entrypoint).toBeUndefined();
  });

  it.each([
    [{ Env: 'A=b' }, {}, 'Env'],
    [{ Cmd: ['a\0b'] }, {}, 'Cmd'],
    [{ WorkingDir: 5 }, {}, 'WorkingDir'],
    [{ Env: ['A='.padEnd(200_000, 'x')] }, {}, 'Env'],
    [{}, { architecture: 'arm64' }, 'it is for linux/arm64'],
    [{}, { os: 'windows' }, 'it is for windows'],
    [{}, { rootfs: { diff_ids: ['x'] } }, 'does not name its layers'],
    [{ Env: ['__proto__=1'] }, {}, 'a variable __proto__'],
    [{ Env: ['constructor=1'] }, {}, 'a variable constructor'],
  ])('%j with %j is refused', (config, more, words) => {
    expect(() => parse(config, more)).toThrow(refused(words));
  });
});

it('is never more than the record of a VM has room for', () => {
  const many = (count: number, entry: (index: number) => [string, unknown]) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => entry(index)));
  const hostile = {
    ExposedPorts: many(99_999, (index) => [`${index}/x`, {}]),
    Labels: { ...many(200, (index) => [`l${index}`, '\u0001'.repeat(400)]), ['k'.repeat(1 << 20)]: 'v' },
  };
  const rootfs = { diff_ids: [] };
  const { config } = parseConfig(json({ rootfs, config: hostile }), 'x86_64', 'a');
  expect(Buffer.byteLength(JSON.stringify(config, undefined, 2))).toBeLessThan(MAX_RECORD_BYTES / 2);
  const words = Array(30_000).fill('');
  const large = { rootfs, config: { Cmd: words, Entrypoint: words } };
  expect(() => parseConfig(json(large), 'x86_64', 'a')).toThrow(refused('its configuration has over'));
  expect(config.exposedPorts).toHaveLength(256);
  expect(Object.keys(config.labels ?? {}).every((name) => name.length < 10)).toBe(true);
});

describe("an image's own command", () => {
  const config = { entrypoint: ['/entry', '-v'], cmd: ['serve'] };

  it("is put together as docker's", () => {
    expect(imageCommand(config)).toEqual(['/entry', '-v', 'serve']);
    expect(imageCommand(config, { args: ['migrate'] })).toEqual(['/entry', '-v', 'migrate']);
    expect(imageCommand(config, { entrypoint: ['sh'] })).toEqual(['sh']);
    expect(imageCommand(config, { entrypoint: ['sh'], args: ['-c', 'id'] })).toEqual(['sh', '-c', 'id']);
    expect(imageCommand(config, { entrypoint: [], args: ['id'] })).toEqual(['id']);
    expect(imageCommand(undefined, { args: ['id'] })).toEqual(['id']);
  });

  it('may be none', () => {
    for (const [image, options] of [
      [undefined, {}],
      [{}, {}],
      [config, { entrypoint: [] }],
    ] as const) {
      expect(() => imageCommand(image, options)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
    }
  });
});
