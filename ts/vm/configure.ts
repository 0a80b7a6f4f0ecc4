import { lstat, rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { RESTORE_SINCE, restorePayload } from '../config/restore.js';
import { CONFIG_SINCE, gatedFields } from '../config/since.js';
import type { INetworkInterfaceConfig } from '../config/types.js';
import { SmartVMError } from '../errors.js';
import type { FirecrackerApi } from '../firecracker/api.js';
import type { CallOptions } from '../firecracker/socket-client.js';
import { assertNewEnough } from '../vmm/version.js';
import { type BootContext, remaining, started } from './boot-context.js';
import { interfacesOf, restoreOf } from './network.js';

/** The body is null for what a configuration does not have. */
async function send<T>(
  call: (body: T, options: CallOptions) => Promise<void>,
  api: FirecrackerApi,
  body: T | null,
  options: CallOptions,
): Promise<void> {
  if (body !== null) {
    await call.call(api, body, options);
  }
}

/** Firecracker's order: what the later devices refer to goes first, the logger before all so that it sees the rest. */
export async function configure(context: BootContext): Promise<void> {
  const { config, signal } = context;
  const { api } = started(context);
  const networkInterfaces = interfacesOf(context);
  assertNewEnough(gatedFields(CONFIG_SINCE, { ...config.config, networkInterfaces }), started(context).version);
  const options = { signal };
  await configureOutput(context);
  await send(api.putMachineConfiguration, api, config.toMachineConfigPayload(), options);
  await send(api.putCpuConfiguration, api, config.toCpuConfigPayload(), options);
  await send(api.putGuestBootSource, api, config.toBootSourcePayload(), options);
  for (const drive of config.config.drives ?? []) {
    await api.putGuestDriveByID(config.toDrivePayload(drive), options);
  }
  for (const device of config.config.pmem ?? []) {
    await api.putGuestPmemByID(config.toPmemPayload(device), options);
  }
  for (const iface of networkInterfaces) {
    await api.putGuestNetworkInterfaceByID(config.toNetworkInterfacePayload(bound(iface)), options);
  }
  await releaseSocketLater(context, config.config.vsock?.udsPath);
  await send(api.putGuestVsock, api, config.toVsockPayload(), options);
  await send(api.putBalloon, api, config.toBalloonPayload(), options);
  await send(api.putEntropyDevice, api, config.toEntropyPayload(), options);
  await send(api.putMemoryHotplug, api, config.toMemoryHotplugPayload(), options);
  await send(api.putMmdsConfig, api, config.toMmdsConfigPayload(), options);
  await send(api.putMmds, api, config.toMmdsContentsPayload(), options);
}

export async function startInstance(context: BootContext): Promise<void> {
  const options = { timeoutMs: remaining(context), signal: context.signal };
  await started(context).api.createSyncAction({ action_type: 'InstanceStart' }, options);
}

/** In place of {@link configure} and {@link startInstance}: all but the VMM's own outputs is in the snapshot. */
export async function loadSnapshot(context: BootContext): Promise<void> {
  const { config, signal } = context;
  const restore = restoreOf(context);
  if (!restore) {
    return;
  }
  const { api, version } = started(context);
  const gates = [...gatedFields(CONFIG_SINCE, config.config), ...gatedFields(RESTORE_SINCE, { restore })];
  assertNewEnough(gates, version);
  await configureOutput(context);
  await releaseSocketLater(context, restore.vsockOverride?.udsPath);
  await api.loadSnapshot(restorePayload(restore), { timeoutMs: remaining(context), signal });
  if (!restore.vsockOverride) {
    // The snapshot's own path: the VMM would not have loaded it, had there been a socket.
    const udsPath = (await api.getExportVmConfig({ signal })).vsock?.uds_path;
    if (udsPath !== undefined && mayMake(context, udsPath)) {
      await context.record?.journal({ sockets: [resolve(udsPath)] });
      context.cleanup.push('vsock socket', () => removeSocket(udsPath));
    }
  }
}

/** What a restored VM's metadata service holds, which no snapshot has: it is sent once nothing can stand in for the VMM any more. */
export async function restoreMetadata(context: BootContext): Promise<void> {
  const { api } = started(context);
  await send(api.putMmds, api, context.config.toMmdsContentsPayload(), { signal: context.signal });
}

/** A snapshot is the word of whoever wrote it: what a jailed VMM reads from one names no file for us to remove but in the VMM's folders. */
function mayMake({ confinement, restore }: BootContext, path: string): boolean {
  const folders = restore?.devicePaths?.filter(({ access }) => access !== 'read') ?? [];
  return confinement === undefined || folders.some((folder) => resolve(folder.path) === dirname(path));
}

async function removeSocket(path: string): Promise<void> {
  if ((await lstat(path).catch(() => undefined))?.isSocket()) {
    await rm(path, { force: true });
  }
}

/** @throws SmartVMError INVALID_CONFIG: it is well as a configuration, but not as one to start */
function bound(iface: INetworkInterfaceConfig): INetworkInterfaceConfig & { hostDevName: string } {
  const { hostDevName } = iface;
  if (hostDevName === undefined) {
    throw new SmartVMError('INVALID_CONFIG', `network interface ${iface.ifaceId} needs a hostDevName, the TAP it is`);
  }
  return { ...iface, hostDevName };
}

/** What a VMM writes where: it is not part of a snapshot. */
async function configureOutput(context: BootContext): Promise<void> {
  const { config, telemetry, signal } = context;
  const { api } = started(context);
  await send(api.putLogger, api, config.toLoggerPayload(telemetry?.logPath), { signal });
  await send(api.putMetrics, api, config.toMetricsPayload(telemetry?.metricsPath), { signal });
  await send(api.putSerialDevice, api, config.toSerialPayload(), { signal });
}

/** Before the call, which may make the socket and fail nonetheless. One that is there already is not ours. */
async function releaseSocketLater(context: BootContext, udsPath: string | undefined): Promise<void> {
  if (udsPath !== undefined && !(await lstat(udsPath).catch(() => undefined))) {
    context.cleanup.push('vsock socket', () => rm(udsPath, { force: true }));
  }
}
