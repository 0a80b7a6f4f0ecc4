import { describe, expect, test } from 'vitest';
import { lineOf, ProgressPrinter } from '../../../ts/cli/images/progress.js';
import { findImage, imageColumns, imageRow } from '../../../ts/cli/images/rows.js';
import { renderTable } from '../../../ts/cli/vms/table.js';
import type { StoredImage } from '../../../ts/images/image-manager.js';

const PLAIN = { columns: 200, colors: false, isTerminal: false };

function image(name: string, hex: string, part: Partial<StoredImage> = {}): StoredImage {
  const times = { createdAt: '2026-01-01T00:00:00.000Z', lastUsedAt: '2026-01-02T00:00:00.000Z' };
  const sizes = { sizeBytes: 3 * 2 ** 20, ownBytes: 2 ** 20 };
  const digest = `sha256:${hex.padEnd(64, '0')}`;
  return { key: name, name, digest, arch: 'x86_64', kernelRelease: '6.1.0', usedBy: [], ...times, ...sizes, ...part };
}

const IMAGES = [image('debian', 'aabb1'), image('debian:trixie', 'aabb2'), image('lts', 'ffff', { usedBy: ['web'] })];
const none = () => undefined;

describe('an image on the command line', () => {
  test.each([
    ['debian', 'debian'],
    ['aabb1', 'debian'],
    ['sha256:aabb2', 'debian:trixie'],
    [`sha256:${'ffff'.padEnd(64, '0')}`, 'lts'],
  ])('is found by %s', (reference, name) => {
    expect(findImage(IMAGES, reference, none).name).toBe(name);
  });

  test('is found by another spelling of its name', () => {
    expect(findImage(IMAGES, 'debian:bookworm', () => 'debian').name).toBe('debian');
  });

  test.each([
    ['aabb', 'IMAGE_AMBIGUOUS'],
    ['aab', 'IMAGE_UNKNOWN'],
    ['', 'IMAGE_UNKNOWN'],
    ['sha256:', 'IMAGE_UNKNOWN'],
    ['deb', 'IMAGE_UNKNOWN'],
  ])('by %j is refused', (reference, code) => {
    expect(() => findImage(IMAGES, reference, none)).toThrow(expect.objectContaining({ code }));
  });

  test('has a line with what it shares and who uses it', () => {
    const rows = IMAGES.map((one) => imageRow(one, Date.parse('2026-01-01T00:05:00Z')));
    expect(renderTable(imageColumns(PLAIN), rows, PLAIN).at(-1)).toMatch(
      /^lts +ffff00000000 +6\.1\.0 +5 minutes ago +3\.00MiB +2\.00MiB +web$/,
    );
  });
});

describe('the progress of an image', () => {
  test('is a bar where it is known how much is to come, and one line however long the words', () => {
    const progress = { step: 'fetch', message: 'fetching', receivedBytes: 512, totalBytes: 1024 };
    expect(lineOf(progress, 80)).toBe('[============>           ]  50% 512B/1.00KiB fetching');
    expect(lineOf({ ...progress, totalBytes: 512 }, 80)).toContain('[========================] 100%');
    expect(lineOf({ step: 'fetch', message: 'fetching', receivedBytes: 512 }, 80)).toBe('512B fetching');
    expect(lineOf({ step: 'a', message: 'a\n\u001b[2Jb'.padEnd(100) }, 40)).toMatch(/^a\\n\\x1b\[2Jb {27}…$/);
  });

  test('is a line a step where it is no terminal, and one line that moves and goes where it is', () => {
    for (const [isTTY, expected] of [
      [false, 'one\ntwo\n'],
      [true, '\r\u001b[Kone\r\u001b[Ktwo\r\u001b[K'],
    ] as const) {
      let output = '';
      {
        using printer = new ProgressPrinter({ isTTY, columns: 80, write: (text) => (output += text) });
        for (const message of ['one', 'one', 'two']) {
          printer.tell({ step: 's', message });
        }
      }
      expect(output).toBe(expected);
    }
  });
});
