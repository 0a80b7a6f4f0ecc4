import { mkdir } from 'node:fs/promises';
import { expect } from 'vitest';
import { Execution } from '../../ts/guest/execution.js';
import type { Guest } from '../../ts/guest/types.js';
import { createOverlayDrive } from '../../ts/images/overlay.js';
import { prepareFiles } from '../../ts/launch.js';
import { SmartVM } from '../../ts/smartvm.js';
import { until } from '../support/leftovers.js';
import { QemuVmm } from './qemu-vmm.js';

/** Debian with the agent, on a smartvm-qemu that the test speaks to itself. */
export class DebianVmm {
  private constructor(
    readonly vmm: QemuVmm,
    readonly dial: () => Promise<Guest>,
  ) {}

  /** @param devices bodies by their paths, besides what Debian needs */
  static async boot(devices: Readonly<Record<string, object>>): Promise<DebianVmm> {
    const { imageManager } = new SmartVM();
    const image = await imageManager.resolve('debian', {});
    const vmm = await QemuVmm.ready();
    await mkdir(vmm.scratch.file('vmm'));
    const layer = { kind: 'overlay', grows: false } as const;
    const fill = () => createOverlayDrive(imageManager.cacheDir, vmm.scratch.file('vmm', 'overlay.img'), 1024);
    const dial = await prepareFiles('debian', vmm.scratch.path, { options: {}, image, layer, attachments: [] }, fill);
    const bodies = {
      '/boot-source': {
        kernel_image_path: image.kernelImagePath,
        initrd_path: vmm.scratch.file('vmm', 'initramfs.cpio'),
        boot_args: image.bootArgs,
      },
      '/machine-config': { vcpu_count: 1, mem_size_mib: 256 },
      '/drives/root': { drive_id: 'root', path_on_host: image.rootfs.path, is_root_device: true, is_read_only: true },
      '/drives/over': { drive_id: 'over', path_on_host: vmm.scratch.file('vmm', 'overlay.img'), is_root_device: false },
      '/vsock': { guest_cid: 3, uds_path: vmm.scratch.file('vmm', 'vsock.sock') },
      ...devices,
      '/actions': { action_type: 'InstanceStart' },
    };
    for (const [path, body] of Object.entries(bodies)) {
      expect(await vmm.call('PUT', path, body), path).toEqual({ status: 204, body: undefined });
    }
    return new DebianVmm(vmm, () => connected(() => dial({ timeoutMs: 10_000 })));
  }
}

/** An agent that is not up yet refuses. */
async function connected(dial: () => Promise<Guest>): Promise<Guest> {
  let guest: Guest | undefined;
  await until(
    async () => {
      guest = await dial().catch(() => undefined);
      return guest !== undefined;
    },
    60_000,
    'an answer of the agent',
  );
  return guest as Guest;
}

/** The output of a command that has nothing to complain of. */
export async function shell(guest: Guest, command: string): Promise<string> {
  const { stdout, stderr, exitCode } = await new Execution(async () => guest, command, { shell: true });
  expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
  return stdout.trim();
}
