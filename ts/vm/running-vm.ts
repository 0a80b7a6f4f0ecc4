import type { IPmemConfig } from '../config/device-types.js';
import { configPaths, type HostPath } from '../config/host-paths.js';
import { type ImageCommandOptions, type ImageConfig, imageCommand } from '../config/image-config.js';
import { assertLifetime } from '../config/lifetime.js';
import type { IDriveConfig, INetworkInterfaceConfig } from '../config/types.js';
import * as updates from '../config/updates.js';
import type { VMConfig } from '../config/vm-config.js';
import type { FirecrackerApi } from '../firecracker/api.js';
import type { WireAnswer } from '../firecracker/wire.js';
import { GuestCalls } from '../guest/calls.js';
import type { ReadySource } from '../guest/ready/ready.js';
import type { LimitChange } from '../vmm/keeper-life.js';
import type { MetricsSample } from '../vmm/metrics.js';
import type { Telemetry } from '../vmm/telemetry.js';
import type { VmmProcess } from '../vmm/vmm-process.js';
import { type CamelCased, camelCased } from './camel-case.js';
import { readySourceOf } from './ready.js';
import type { MicroVMEvents } from './types.js';

/** What a VM does with one of its calls. */
export interface VmCall<T> {
  /** For messages: `updateDrive()`. */
  readonly name: string;
  /** The `major.minor` of Firecracker that brought it. Default: 1.0. */
  readonly since?: string;
  /** What the VMM opens for it. */
  readonly paths?: readonly HostPath[];
  readonly run: (api: FirecrackerApi) => Promise<T>;
}

/**
 * What a running or paused VM can be asked and told beyond its life and its guest. Calls of one VM run one after the other.
 * Every method rejects with INVALID_STATE (the VM neither runs nor is paused), INVALID_OPTION, VMM_TOO_OLD, or an ApiError
 * with the VMM's own words; VMM_EXITED when the VMM ends meanwhile.
 */
export abstract class RunningVM extends GuestCalls<MicroVMEvents> {
  abstract readonly id: string;

  abstract readonly config: VMConfig;

  /** What the VM's image says of the programs in it, where it is an OCI image. */
  abstract readonly imageConfig: ImageConfig | undefined;

  /** Runs a call when those before it have ended. */
  protected abstract call<T>(call: VmCall<T>): Promise<T>;

  /** @throws SmartVMError NO_CLIENT before the start and after the end */
  protected abstract vmm(): VmmProcess;

  /** @throws SmartVMError NO_CLIENT before the start */
  protected abstract telemetry(): Telemetry;

  protected override readySource(): ReadySource {
    return readySourceOf(this.id, this.vmm(), async () => {
      this.vmm(); // one that this has let go of is nobody to wait for
      return await this.guest();
    });
  }

  /**
   * Gives the VM a life of so many milliseconds from now, up to a year, or of no limit; see `timeoutMs` of the start. It is kept by the
   * VM's keeper, whatever becomes of this program.
   * @throws SmartVMError INVALID_OPTION; NO_CLIENT before the start and after the end; INVALID_STATE when the time was up before
   */
  async setTimeout(timeoutMs: number | null | undefined): Promise<void> {
    assertLifetime({ timeoutMs: timeoutMs ?? undefined });
    await this.#limit({ timeoutMs: timeoutMs ?? null });
  }

  /** As {@link setTimeout}, for the time for which no program may have a command in the guest, which begins anew. */
  async setIdleTimeout(idleTimeoutMs: number | null | undefined): Promise<void> {
    assertLifetime({ idleTimeoutMs: idleTimeoutMs ?? undefined });
    await this.#limit({ idleTimeoutMs: idleTimeoutMs ?? null });
  }

  async #limit(change: LimitChange): Promise<void> {
    const vmm = this.vmm();
    try {
      await vmm.life.limit(change);
    } catch (error) {
      throw await vmm.explain(error);
    }
  }

  /**
   * The image's own command, for `exec()` or `spawn()`: its Entrypoint and Cmd, put together as docker does.
   * @throws SmartVMError INVALID_OPTION where there is none
   */
  imageCommand(options: ImageCommandOptions = {}): readonly string[] {
    return imageCommand(this.imageConfig, options);
  }

  /**
   * The VMM's API, for every verb that has no method here.
   * @throws SmartVMError NO_CLIENT before the start and after the end
   */
  get api(): FirecrackerApi {
    return this.vmm().api;
  }

  /** Process id of the VMM. @throws SmartVMError NO_CLIENT */
  get pid(): number {
    return this.vmm().pid;
  }

  /** The VMM's own account of the instance. @throws SmartVMError NO_CLIENT, ApiError */
  async getInfo(): Promise<WireAnswer<'InstanceInfo'>> {
    return await this.api.describeInstance();
  }

  /** Bytes for the guest's serial console. */
  async writeConsole(data: string | Uint8Array): Promise<void> {
    await this.vmm().writeConsole(Buffer.from(data as Uint8Array));
  }

  /** The last lines of the serial console. */
  async consoleTail(lines?: number): Promise<string[]> {
    return await this.vmm().consoleTail(lines);
  }

  /** Gives a drive another file or other limits. */
  async updateDrive(update: updates.DriveUpdate): Promise<void> {
    const body = updates.driveUpdatePayload(update);
    const { pathOnHost } = update;
    const isReadOnly = this.config.config.drives?.some((drive) => drive.driveId === update.driveId && drive.isReadOnly);
    const paths =
      pathOnHost === undefined ? [] : [{ path: pathOnHost, access: isReadOnly ? 'read' : 'write' } as const];
    await this.call({ name: 'updateDrive()', paths, run: (api) => api.patchGuestDriveByID(body) });
  }

  /** Gives a pmem device other limits. Firecracker ≥ 1.16. */
  async updatePmem(update: updates.PmemUpdate): Promise<void> {
    const body = updates.pmemUpdatePayload(update);
    await this.call({ name: 'updatePmem()', since: '1.16', run: (api) => api.patchGuestPmemByID(body) });
  }

  /** Gives a network interface other limits. */
  async updateNetworkInterface(update: updates.NetworkInterfaceUpdate): Promise<void> {
    const body = updates.networkInterfaceUpdatePayload(update);
    await this.call({ name: 'updateNetworkInterface()', run: (api) => api.patchGuestNetworkInterfaceByID(body) });
  }

  /** Plugs a drive in, for a guest that then rescans its PCI bus; needs the VMM flag `enablePci`. Firecracker ≥ 1.16. */
  async attachDrive(drive: IDriveConfig): Promise<void> {
    const body = this.config.toDrivePayload(drive);
    const paths = configPaths({ drives: [drive] });
    await this.call({ name: 'attachDrive()', since: '1.16', paths, run: (api) => api.putGuestDriveByID(body) });
  }

  /** Takes a drive out, of which the guest has let go. Firecracker ≥ 1.16. */
  async detachDrive(driveId: string): Promise<void> {
    await this.call({ name: 'detachDrive()', since: '1.16', run: (api) => api.deleteGuestDriveByID(driveId) });
  }

  /** As {@link attachDrive}. */
  async attachPmem(device: IPmemConfig): Promise<void> {
    const body = this.config.toPmemPayload(device);
    const paths = configPaths({ pmem: [device] });
    await this.call({ name: 'attachPmem()', since: '1.16', paths, run: (api) => api.putGuestPmemByID(body) });
  }

  /** As {@link detachDrive}. */
  async detachPmem(id: string): Promise<void> {
    await this.call({ name: 'detachPmem()', since: '1.16', run: (api) => api.deleteGuestPmemByID(id) });
  }

  /** As {@link attachDrive}. */
  async attachNetworkInterface(iface: INetworkInterfaceConfig & { hostDevName: string }): Promise<void> {
    const body = this.config.toNetworkInterfacePayload(iface);
    const run = (api: FirecrackerApi) => api.putGuestNetworkInterfaceByID(body);
    await this.call({ name: 'attachNetworkInterface()', since: '1.16', run });
  }

  /** As {@link detachDrive}. */
  async detachNetworkInterface(ifaceId: string): Promise<void> {
    const run = (api: FirecrackerApi) => api.deleteGuestNetworkInterfaceByID(ifaceId);
    await this.call({ name: 'detachNetworkInterface()', since: '1.16', run });
  }

  /** Sets how much memory the balloon shall take from the guest. */
  async updateBalloon(update: updates.BalloonUpdate): Promise<void> {
    const body = updates.balloonUpdatePayload(update);
    await this.call({ name: 'updateBalloon()', run: (api) => api.patchBalloon(body) });
  }

  async updateBalloonStatistics(update: updates.BalloonStatisticsUpdate): Promise<void> {
    const body = updates.balloonStatisticsPayload(update);
    await this.call({ name: 'updateBalloonStatistics()', run: (api) => api.patchBalloonStatsInterval(body) });
  }

  async getBalloon(): Promise<CamelCased<WireAnswer<'Balloon'>>> {
    return camelCased(await this.call({ name: 'getBalloon()', run: (api) => api.describeBalloonConfig() }));
  }

  /** What the guest last told of its memory, in bytes and pages of 4 KiB. */
  async getBalloonStatistics(): Promise<CamelCased<WireAnswer<'BalloonStats'>>> {
    return camelCased(await this.call({ name: 'getBalloonStatistics()', run: (api) => api.describeBalloonStats() }));
  }

  /** Asks the guest for the pages that it does not use, so that the host can take them back. Firecracker ≥ 1.14. */
  async startBalloonHinting(options: updates.BalloonHintingOptions = {}): Promise<void> {
    const body = updates.balloonHintingPayload(options);
    await this.call({ name: 'startBalloonHinting()', since: '1.14', run: (api) => api.startBalloonHinting(body) });
  }

  async getBalloonHinting(): Promise<CamelCased<WireAnswer<'BalloonHintingStatus'>>> {
    const run = (api: FirecrackerApi) => api.describeBalloonHinting();
    return camelCased(await this.call({ name: 'getBalloonHinting()', since: '1.14', run }));
  }

  async stopBalloonHinting(): Promise<void> {
    await this.call({ name: 'stopBalloonHinting()', since: '1.14', run: (api) => api.stopBalloonHinting() });
  }

  /** Replaces what the metadata service holds. */
  async putMmds(contents: Record<string, unknown>): Promise<void> {
    await this.call({ name: 'putMmds()', run: (api) => api.putMmds(contents) });
  }

  /** Changes what the metadata service holds, by a JSON merge patch (RFC 7396): null removes. */
  async patchMmds(patch: Record<string, unknown>): Promise<void> {
    await this.call({ name: 'patchMmds()', run: (api) => api.patchMmds(patch) });
  }

  async getMmds(): Promise<Record<string, unknown>> {
    return await this.call({ name: 'getMmds()', run: (api) => api.getMmds() });
  }

  /** Sets how much hotpluggable memory the guest shall have; it takes and gives what it can. Firecracker ≥ 1.14. */
  async updateMemoryHotplug(update: updates.MemoryHotplugUpdate): Promise<void> {
    const body = updates.memoryHotplugUpdatePayload(update);
    await this.call({ name: 'updateMemoryHotplug()', since: '1.14', run: (api) => api.patchMemoryHotplug(body) });
  }

  async getMemoryHotplug(): Promise<CamelCased<WireAnswer<'MemoryHotplugStatus'>>> {
    const run = (api: FirecrackerApi) => api.getMemoryHotplug();
    return camelCased(await this.call({ name: 'getMemoryHotplug()', since: '1.14', run }));
  }

  async getMachineConfig(): Promise<CamelCased<WireAnswer<'MachineConfiguration'>>> {
    return camelCased(await this.call({ name: 'getMachineConfig()', run: (api) => api.getMachineConfiguration() }));
  }

  /** The VMM's own account of the whole VM, in its own terms. */
  async getFullConfig(): Promise<WireAnswer<'FullVmConfiguration'>> {
    return await this.call({ name: 'getFullConfig()', run: (api) => api.getExportVmConfig() });
  }

  /** The VMM's version, such as `1.16.0`. */
  async getVersion(): Promise<string> {
    const answer = await this.call({ name: 'getVersion()', run: (api) => api.getFirecrackerVersion() });
    return answer.firecracker_version;
  }

  /** Has the VMM write its metrics now; it does so by itself once a minute. */
  async flushMetrics(): Promise<void> {
    await this.call({ name: 'flushMetrics()', run: (api) => api.createSyncAction({ action_type: 'FlushMetrics' }) });
  }

  /** Lines of the VMM's log from what is kept of its start, then live until the VM ends. Who reads slowly loses the oldest. */
  logs(signal?: AbortSignal): AsyncGenerator<string, void, undefined> {
    return this.telemetry().logs(signal);
  }

  /** The VMM's metrics, one sample a flush, as {@link logs}. @throws SmartVMError INVALID_STATE without `metrics` in the configuration */
  metrics(signal?: AbortSignal): AsyncGenerator<MetricsSample, void, undefined> {
    return this.telemetry().metrics(signal);
  }
}
