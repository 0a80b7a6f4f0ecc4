import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { listVms } from '../../../../ts/cli/vms/list.js';
import { currentProcess } from '../../../../ts/util/process-identity.js';
import { renderRecord, type VmRecord } from '../../../../ts/vmm/registry/record.js';
import { halfEnded } from '../../../support/half-ended.js';
import { sampleRecord } from '../../../support/record.js';
import { type ScratchDirectory, scratchDirectory } from '../../../support/scratch.js';

const alive = currentProcess();
const dead = { ...alive, startTime: '1' };
let scratch: ScratchDirectory;

beforeEach(async () => {
  scratch = await scratchDirectory();
});
afterEach(async () => {
  await scratch[Symbol.asyncDispose]();
});

async function plant(id: string, part: Partial<VmRecord>, files: Readonly<Record<string, string>> = {}): Promise<void> {
  mkdirSync(scratch.file(id));
  const record = renderRecord(await sampleRecord({ ...part, id }));
  for (const [name, text] of Object.entries({ 'vm.json': record, ...files })) {
    writeFileSync(scratch.file(id, name), text);
  }
}

const list = () => listVms(scratch.path);
const said = (state: string) => ({ 'state.json': JSON.stringify({ state, changedAt: 'then', startedAt: 'then' }) });
const running = said('running');
const keptBy = (keeper: typeof alive) => ({ processes: { keeper, vmm: keeper } });

describe('listVms', () => {
  test('finds none where there is no directory', () => {
    expect(listVms(scratch.file('none'))).toEqual({ runtimeRoot: scratch.file('none'), vms: [], unreadable: [] });
  });

  test.each<[string, Partial<VmRecord>, Record<string, string>, string]>([
    ['its program is at it', {}, {}, 'created'],
    ['its program died before there was a keeper', { owner: dead }, {}, 'exited'],
    ['its keeper has said nothing yet', keptBy(alive), {}, 'created'],
    ['its keeper says so', { owner: dead, ...keptBy(alive) }, running, 'running'],
    ['its keeper says so', keptBy(alive), said('paused'), 'paused'],
    ['its keeper says what is not understood', keptBy(alive), said('frozen'), 'created'],
    ['its keeper is dead, whatever it said', keptBy(dead), running, 'exited'],
    ['the host was booted since', keptBy({ ...alive, bootId: 'another' }), running, 'exited'],
    [
      'its keeper has told the end, and lives yet',
      keptBy(alive),
      { ...running, 'exit.json': '{"exitCode":0}' },
      'exited',
    ],
  ])('when %s: %#', async (_what, part, files, status) => {
    await plant('vm-1', part, files);
    expect(list().vms.map((vm) => vm.status)).toEqual([status]);
  });

  test('knows one as ended whose keeper was killed, though its last threads be still to go', async () => {
    await using keeper = await halfEnded();
    await plant('vm-1', { owner: dead, ...keptBy(keeper.identity) }, running);
    expect(list().vms.map((vm) => vm.status)).toEqual(['exited']);
  });

  test.each([
    ['that outlived its program', true, 'keeper-lost'],
    ['of a program that is dead', false, undefined],
  ])('of a VM %s and has no word of its end, says what can be told', async (_what, detached, reason) => {
    await plant('vm-1', { owner: dead, detached, ...keptBy(dead) });
    expect(list().vms.map(({ exit }) => exit?.reason)).toEqual([reason]);
  });

  test('is by age, the newest first, and leaves out what is no directory of a VM', async () => {
    await plant('b', { createdAt: '2026-01-01T00:00:00.000Z' });
    await plant('c', { createdAt: '2026-01-03T00:00:00.000Z' });
    await plant('a', { createdAt: '2026-01-03T00:00:00.000Z' });
    mkdirSync(scratch.file('.leases'));
    expect(list().vms.map(({ id }) => id)).toEqual(['a', 'c', 'b']);
  });

  test('sets aside what cannot be read, and shows the others', async () => {
    await plant('good', {});
    await plant('newer', {}, { 'vm.json': '{"version": 2}' });
    await plant('broken', {}, { 'vm.json': '{' });
    mkdirSync(scratch.file('empty'));
    mkdirSync(scratch.file('link'));
    symlinkSync(scratch.file('good', 'vm.json'), scratch.file('link', 'vm.json'));
    writeFileSync(scratch.file('file'), '');
    const { vms, unreadable } = list();
    expect(vms.map(({ id }) => id)).toEqual(['good']);
    expect(Object.fromEntries(unreadable.map(({ id, problem }) => [id, problem]))).toEqual({
      ...{ newer: 'newer', broken: 'corrupt', empty: 'missing', link: 'corrupt', file: 'missing' },
    });
  });
});
