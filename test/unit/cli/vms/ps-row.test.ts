import { describe, expect, test } from 'vitest';
import type { ListedVm } from '../../../../ts/cli/vms/list.js';
import { exitCodeOf, psColumns, psRow } from '../../../../ts/cli/vms/ps-row.js';
import type { VmmExit } from '../../../../ts/vmm/exit.js';
import { glanceAtRecord } from '../../../../ts/vmm/registry/glance.js';
import { renderRecord } from '../../../../ts/vmm/registry/record.js';
import { sampleRecord } from '../../../support/record.js';

const NOW = Date.parse('2026-01-02T03:14:05.678Z');
const IMAGE = `registry.example/${'x'.repeat(64)}`;
const record = glanceAtRecord(renderRecord(await sampleRecord({ image: IMAGE })), 'vm-1');
const BEFORE = '2026-01-02T03:09:05.678Z';
const state = { state: 'running', changedAt: BEFORE, startedAt: BEFORE } as const;
const exit = (part: Partial<VmmExit> = {}): VmmExit => ({
  ...{ exitCode: 0, signal: null, reason: 'exited', startedAt: null, exitedAt: BEFORE },
  ...part,
});
const vm = (part: Partial<ListedVm>): ListedVm => ({
  ...{ id: 'vm-1', runtimeDir: '/run/vm-1', record, status: 'running', state, exit: undefined },
  ...part,
});

describe('a row of ps', () => {
  test.each<[Partial<ListedVm>, string]>([
    [{}, 'Up 5 minutes'],
    [{ status: 'paused' }, 'Up 5 minutes (Paused)'],
    [{ status: 'created', state: undefined }, 'Created'],
    [{ status: 'exited', exit: exit() }, 'Exited (0) 5 minutes ago'],
    [{ status: 'exited', exit: exit({ exitCode: null, signal: 'SIGKILL' }) }, 'Exited (137) 5 minutes ago'],
    [{ status: 'exited' }, 'Exited'],
  ])('%#: %s', (part, status) => {
    expect(psRow(vm(part), NOW).status).toBe(status);
  });

  test('a long image is cut, or whole with --no-trunc', () => {
    const row = psRow(vm({}), NOW);
    const image = (trunc: boolean) => psColumns(trunc, NOW)[1]?.text(row);
    expect([image(true)?.length, image(false)]).toEqual([32, IMAGE]);
  });

  test('the exit code of a VM whose keeper was killed is that of its VMM, which died with it', () => {
    expect(exitCodeOf(exit({ exitCode: null, signal: null, reason: 'keeper-lost' }))).toBe(137);
  });
});
