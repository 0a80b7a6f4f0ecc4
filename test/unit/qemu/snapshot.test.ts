import { open, readFile, stat, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { copyMemory } from '../../../ts/qemu/snapshot/memory.js';
import { decodeState, encodeState, readState } from '../../../ts/qemu/snapshot/state-file.js';
import { scratchDirectory } from '../../support/scratch.js';

const state = { config: { arch: 'x64', id: 'ä' }, devices: Buffer.from('devices\0of QEMU') };

describe('a state file', () => {
  it('reads as it was written', () => {
    expect(decodeState(encodeState(state))).toEqual(state);
  });

  it('is refused whatever byte of it is flipped, and wherever it is cut', () => {
    const bytes = encodeState(state);
    for (let index = 0; index < bytes.length; index++) {
      const flipped = Buffer.from(bytes);
      flipped[index] = (flipped[index] ?? 0) ^ 1;
      expect(() => decodeState(flipped), `byte ${index}`).toThrow('Failed to load snapshot state from file: ');
      expect(() => decodeState(bytes.subarray(0, index)), `${index} bytes`).toThrow('Failed to load snapshot state');
    }
  });

  it.each([
    ['no file', undefined, 'Failed to open snapshot file: No such file or directory (os error 2)'],
    ['a short one', 'x', 'IO Error: File too short to contain CRC'],
    ['another format', 'x'.repeat(5000), 'An error occurred during bitcode serialization: bitcode error'],
    ['one too large', Buffer.alloc(10_000_001), 'Snapshot size exceeds limit of 10000000 bytes'],
  ])('says what is wrong with %s', async (_, content, message) => {
    await using scratch = await scratchDirectory();
    if (content !== undefined) {
      await writeFile(scratch.file('state'), content);
    }
    await expect(readState(scratch.file('state'))).rejects.toThrow(message);
  });
});

describe('copyMemory', () => {
  it.each([true, false])('copies every byte, and leaves zeros out only when asked to (%s)', async (holes) => {
    await using scratch = await scratchDirectory();
    const size = 9 * 2 ** 20;
    const memory = Buffer.alloc(size + 100);
    for (const at of [100, 65_636, 4 * 2 ** 20 + 99, size + 99]) {
      memory[at] = 7;
    }
    await writeFile(scratch.file('source'), memory);
    const target = await open(scratch.file('target'), 'w');
    await target.truncate(size);
    await copyMemory({ path: scratch.file('source'), offset: 100 }, target, size, holes);
    await target.close();
    expect(memory.subarray(100).equals(await readFile(scratch.file('target')))).toBe(true);
    const { blocks } = await stat(scratch.file('target'));
    expect(blocks * 512 < size).toBe(holes);
  });
});
