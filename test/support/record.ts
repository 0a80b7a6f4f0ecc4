import { currentProcess } from '../../ts/util/process-identity.js';
import { EMPTY_JOURNAL, type VmRecord } from '../../ts/vmm/registry/record.js';

/** A record as this program would write it. */
export async function sampleRecord(part: Partial<VmRecord> = {}): Promise<VmRecord> {
  return {
    version: 1,
    id: 'vm-1',
    createdAt: '2026-01-02T03:04:05.678Z',
    owner: currentProcess(),
    detached: false,
    vmm: { kind: 'qemu', path: '/usr/bin/vmm' },
    socketPath: '/run/vm-1/vmm/api.sock',
    restored: false,
    config: { bootSource: { kernelImagePath: '/vmlinux' } },
    journal: EMPTY_JOURNAL,
    ...part,
  };
}
