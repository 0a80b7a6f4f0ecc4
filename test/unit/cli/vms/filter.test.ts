import { describe, expect, test } from 'vitest';
import { parseFilters, VM_FILTERS } from '../../../../ts/cli/vms/filter.js';
import type { ListedVm } from '../../../../ts/cli/vms/list.js';
import { glanceAtRecord } from '../../../../ts/vmm/registry/glance.js';
import { renderRecord } from '../../../../ts/vmm/registry/record.js';
import { sampleRecord } from '../../../support/record.js';

const tags = { name: 'web', labels: { tier: 'front', a: 'b=c' }, image: 'debian' };
const record = glanceAtRecord(renderRecord(await sampleRecord(tags)), 'vm-1');
const exit = { exitCode: 0, signal: null, reason: 'exited', startedAt: null, exitedAt: null } as const;
const VM: ListedVm = { id: 'vm-1', runtimeDir: '/run/vm-1', record, status: 'exited', state: undefined, exit };

const passes = (...filters: string[]) => parseFilters(filters, VM_FILTERS)(VM);

describe('--filter', () => {
  test.each([
    [[]],
    [['id=vm-']],
    [['name=we']],
    [['label=tier']],
    [['label=tier=front', 'label=a=b=c']],
    [['image=debian']],
    [['exited=0']],
    [['status=running', 'status=exited']],
  ])('%j: it passes', (filters) => {
    expect(passes(...filters)).toBe(true);
  });

  test.each([
    [['id=m-1']],
    [['name=x']],
    [['label=toString']],
    [['label=tier=back']],
    [['label=tier', 'label=none']],
    [['image=debia']],
    [['exited=1']],
    [['status=running', 'id=vm-1']],
  ])('%j: it does not', (filters) => {
    expect(passes(...filters)).toBe(false);
  });

  test.each([
    ['colour=red', /there are id=…, name=…/],
    ['toString=1', /there are id=…/],
    ['web', /there are/],
    ['status=up', /status is one of created, running, paused, exited/],
  ])('%s is refused', (filter, message) => {
    expect(() => passes(filter)).toThrow(message);
    expect(() => passes(filter)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  });
});
