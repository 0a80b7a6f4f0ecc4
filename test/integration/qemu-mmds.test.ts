import { unlink } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Execution } from '../../ts/guest/execution.js';
import type { Guest } from '../../ts/guest/types.js';
import { until } from '../support/leftovers.js';
import { DebianVmm, shell } from './debian-vmm.js';
import { QemuVmm } from './qemu-vmm.js';

const TAP = `svmtest${process.pid}`.slice(0, 15);
const METADATA = { name: { first: 'Ada' }, age: 36 };

/** What the MMDS answers to a request from within the guest: its status, and its body. */
async function ask(guest: Guest, request: string, ...headers: string[]): Promise<[number, string]> {
  const lines = [`${request} HTTP/1.0`, ...headers, '', ''].join('\r\n');
  const script = 'exec 3<>/dev/tcp/169.254.169.254/80 && printf %s "$1" >&3 && cat <&3';
  const { stdout, stderr } = await new Execution(async () => guest, ['bash', '-c', script, 'bash', lines]);
  expect(stderr).toBe('');
  const [head = '', body = ''] = stdout.split('\r\n\r\n');
  return [Number(head.split(' ')[1]), body];
}

describe.skipIf(process.arch !== 'x64' || process.getuid?.() !== 0)(
  'the MMDS, asked by a guest of smartvm-qemu',
  () => {
    let vmms: QemuVmm[];

    beforeEach(() => {
      vmms = [];
    });

    afterEach(async () => {
      for (const vmm of vmms) {
        await vmm[Symbol.asyncDispose]();
      }
    });

    async function boot(version: 'V1' | 'V2'): Promise<{ debian: DebianVmm; vmm: QemuVmm; guest: Guest }> {
      const debian = await DebianVmm.boot({
        '/network-interfaces/net1': { iface_id: 'net1', host_dev_name: TAP },
        '/mmds/config': { version, network_interfaces: ['net1'] },
        '/mmds': METADATA,
      });
      vmms.push(debian.vmm);
      return { debian, vmm: debian.vmm, guest: await debian.dial() };
    }

    /** The feed begins beside the boot, not before it. */
    const answering = (guest: Guest) =>
      until(
        async () =>
          (await new Execution(async () => guest, ['bash', '-c', 'exec 3<>/dev/tcp/169.254.169.254/80'])).exitCode ===
          0,
        30_000,
        'a listener at the address',
      );

    it('answers by version 1, and tells of changes', async () => {
      const { vmm, guest } = await boot('V1');
      await answering(guest);
      expect(await ask(guest, 'GET /')).toEqual([200, 'age\nname/']);
      expect(await ask(guest, 'GET /', 'Accept: application/json')).toEqual([200, '{"age":36,"name":{"first":"Ada"}}']);
      expect(await ask(guest, 'GET /nothing')).toEqual([404, 'Resource not found: /nothing.']);
      expect(await ask(guest, 'PATCH /')).toEqual([405, 'Not allowed HTTP method.']);

      await vmm.call('PATCH', '/mmds', { name: { first: 'Grace' } });
      await until(async () => (await ask(guest, 'GET /name/first'))[1] === 'Grace', 30_000, 'the new name');
      await vmm.call('PUT', '/mmds', 'x'.repeat(51_198));
      await until(async () => (await ask(guest, 'GET /'))[1].length === 51_198, 30_000, 'all that fits');
      expect(await shell(guest, 'ip -4 -o address show dev lo')).toContain('169.254.169.254/32');
      guest.close();
    });

    it('asks for tokens by version 2, of which none outlives a snapshot', async () => {
      const { debian, vmm, guest } = await boot('V2');
      await answering(guest);
      expect((await ask(guest, 'GET /age'))[0]).toBe(401);
      const newToken = async (guest: Guest) => {
        const [status, token] = await ask(guest, 'PUT /latest/api/token', 'X-metadata-token-ttl-seconds: 60');
        expect(status).toBe(200);
        return `X-metadata-token: ${token}`;
      };
      const token = await newToken(guest);
      expect(await ask(guest, 'GET /name/first', token)).toEqual([200, 'Ada']);

      await vmm.call('PATCH', '/vm', { state: 'Paused' });
      const [snap, mem] = [vmm.scratch.file('snap'), vmm.scratch.file('mem')];
      await vmm.call('PUT', '/snapshot/create', { snapshot_path: snap, mem_file_path: mem });
      guest.close();
      vmm.process.kill('SIGTERM');
      await vmm.exit();
      await unlink(vmm.scratch.file('vmm', 'vsock.sock')); // no VMM removes its own

      const clone = await QemuVmm.ready();
      vmms.push(clone);
      const backend = { backend_type: 'File', backend_path: mem };
      const load = { snapshot_path: snap, mem_backend: backend, resume_vm: true };
      expect(await clone.call('PUT', '/snapshot/load', load)).toEqual({ status: 204, body: undefined });
      const again = await debian.dial();
      expect(await ask(again, 'GET /name/first', token)).toEqual([401, 'MMDS token not valid.']);
      const fresh = await newToken(again);
      expect(await ask(again, 'GET /name/first', fresh)).toEqual([404, 'Resource not found: /name/first.']);
      await clone.call('PUT', '/mmds', { name: { first: 'Grace' } });
      await until(async () => (await ask(again, 'GET /name/first', fresh))[1] === 'Grace', 30_000, 'the new name');
      again.close();
    });
  },
);
