import type { Qmp } from './qmp.js';

/** Whether a driver of the guest's has taken up the device behind a virtio PCI device. */
export async function isActivated(qmp: Qmp, devicePath: string): Promise<boolean> {
  const status = (await qmp.execute('x-query-virtio-status', { path: `${devicePath}/virtio-backend` })) as {
    readonly status: { readonly statuses: readonly string[] };
  };
  return status.status.statuses.some((name) => name.startsWith('VIRTIO_CONFIG_S_DRIVER_OK'));
}
