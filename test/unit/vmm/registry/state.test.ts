import { writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { readVmStatus } from '../../../../ts/vmm/registry/state.js';
import { scratchDirectory } from '../../../support/scratch.js';

const STATUS = {
  state: 'paused',
  changedAt: '2026-01-02T03:04:05.000Z',
  startedAt: '2026-01-02T03:04:00.000Z',
  expiresAt: '2026-01-02T04:00:00.000Z',
  onExpiry: 'pause',
};

test('the state of a VM is read as its keeper has written it', async () => {
  await using scratch = await scratchDirectory();
  expect(readVmStatus(scratch.path)).toBeUndefined(); // it is being started
  await writeFile(scratch.file('state.json'), `${JSON.stringify(STATUS)}\n`);
  expect(readVmStatus(scratch.path)).toEqual(STATUS);
});

test.each([
  ['nothing', ''],
  ['half of it', JSON.stringify(STATUS).slice(0, 40)],
  ['no object', '[]'],
  ['another state', JSON.stringify({ ...STATUS, state: 'burning' })],
  ['no times', JSON.stringify({ state: 'running' })],
  ['too much', JSON.stringify({ ...STATUS, more: 'x'.repeat(5_000) })],
])('of %s nothing is said', async (_what, text) => {
  await using scratch = await scratchDirectory();
  await writeFile(scratch.file('state.json'), text);
  expect(readVmStatus(scratch.path)).toBeUndefined();
});
