import { describe, expect, test } from 'vitest';
import { findVm } from '../../../../ts/cli/vms/find.js';
import type { ListedVm, StatusWord, VmList } from '../../../../ts/cli/vms/list.js';
import { glanceAtRecord } from '../../../../ts/vmm/registry/glance.js';
import { renderRecord } from '../../../../ts/vmm/registry/record.js';
import { sampleRecord } from '../../../support/record.js';

async function vm(id: string, name?: string, status: StatusWord = 'running'): Promise<ListedVm> {
  const record = glanceAtRecord(renderRecord(await sampleRecord({ id, name })), id);
  return { id, runtimeDir: `/run/${id}`, record, status, state: undefined, exit: undefined };
}

const LIST: VmList = {
  runtimeRoot: '/run',
  vms: [
    await vm('vm-1', 'web'),
    await vm('vm-12', 'vm-1'),
    await vm('vm-2', 'db'),
    await vm('other', 'db'),
    await vm('old-1', 'cron', 'exited'),
    await vm('old-2', 'cron'),
    await vm('ended-2', 'job', 'exited'),
    await vm('ended-1', 'job', 'exited'),
    await vm('web-1'),
  ],
  unreadable: [{ id: 'odd', path: '/run/odd', problem: 'newer', message: 'it is of version 9' }],
};

function failureOf(reference: string): { code: string; message: string; details: Record<string, unknown> } {
  try {
    const { id } = findVm(LIST, reference);
    throw new Error(`found ${id}`);
  } catch (error) {
    return error as ReturnType<typeof failureOf>;
  }
}

describe('findVm', () => {
  test.each([
    ['an id, before a name and what begins so', 'vm-1', 'vm-1'],
    ['a name, before the beginning of an id', 'web', 'vm-1'],
    ['the beginning of an id that one has', 'oth', 'other'],
    ['of a name the one that lives', 'cron', 'old-2'],
    ['of a name that none has who lives, the last', 'job', 'ended-2'],
  ])('finds by %s', (_what, reference, id) => {
    expect(findVm(LIST, reference).id).toBe(id);
  });

  test.each(['nothing', '', 'VM-1', '\u001b[2J'])('finds no %j', (reference) => {
    expect(failureOf(reference)).toMatchObject({ code: 'VM_NOT_FOUND', details: { reference, runtimeDir: '/run' } });
  });

  test.each([
    ['vm-', ['vm-1', 'vm-12', 'vm-2']],
    ['db', ['other', 'vm-2']],
  ])('names all that %j may mean', (reference, ids) => {
    const { code, message, details } = failureOf(reference);
    expect([code, details.ids]).toEqual(['VM_AMBIGUOUS', ids]);
    expect(message).toContain(ids.join(', '));
  });

  test('says that a record cannot be used', () => {
    expect(failureOf('odd')).toMatchObject({ code: 'RECORD_UNREADABLE', details: { path: '/run/odd' } });
  });
});
