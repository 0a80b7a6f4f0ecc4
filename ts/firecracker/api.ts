import type { CallOptions, SocketClient } from './socket-client.js';
import type { Wire, WireAnswer } from './wire.js';

/**
 * One method for each operation of Firecracker's API description (spec/firecracker.yaml), named as it names them, with its
 * bodies as they go over the wire; sizes and units are in the fields' names. What VMConfig and MicroVM offer is built on it.
 *
 * Every method rejects with an ApiError, as {@link SocketClient} does. Which calls are legal before the start and which
 * after it, the VMM knows: it refuses the others (API_REFUSED).
 */
export class FirecrackerApi {
  /** For calls that this version of the API description does not have. */
  readonly client: SocketClient;

  constructor(client: SocketClient) {
    this.client = client;
  }

  /** `GET /`: id, state and version. It answers as soon as the VMM is up. */
  async describeInstance(options?: CallOptions): Promise<WireAnswer<'InstanceInfo'>> {
    return await this.client.get('/', options);
  }

  /** `PUT /actions`: InstanceStart, SendCtrlAltDel (x86_64) or FlushMetrics. */
  async createSyncAction(body: Wire<'InstanceActionInfo'>, options?: CallOptions): Promise<void> {
    await this.client.put('/actions', body, options);
  }

  async describeBalloonConfig(options?: CallOptions): Promise<WireAnswer<'Balloon'>> {
    return await this.client.get('/balloon', options);
  }

  async putBalloon(body: Wire<'Balloon'>, options?: CallOptions): Promise<void> {
    await this.client.put('/balloon', body, options);
  }

  async patchBalloon(body: Wire<'BalloonUpdate'>, options?: CallOptions): Promise<void> {
    await this.client.patch('/balloon', body, options);
  }

  /** Refused unless the balloon was made with statistics. */
  async describeBalloonStats(options?: CallOptions): Promise<WireAnswer<'BalloonStats'>> {
    return await this.client.get('/balloon/statistics', options);
  }

  async patchBalloonStatsInterval(body: Wire<'BalloonStatsUpdate'>, options?: CallOptions): Promise<void> {
    await this.client.patch('/balloon/statistics', body, options);
  }

  async startBalloonHinting(body: Wire<'BalloonStartCmd'>, options?: CallOptions): Promise<void> {
    await this.client.patch('/balloon/hinting/start', body, options);
  }

  async describeBalloonHinting(options?: CallOptions): Promise<WireAnswer<'BalloonHintingStatus'>> {
    return await this.client.get('/balloon/hinting/status', options);
  }

  async stopBalloonHinting(options?: CallOptions): Promise<void> {
    await this.client.patch('/balloon/hinting/stop', {}, options);
  }

  async putGuestBootSource(body: Wire<'BootSource'>, options?: CallOptions): Promise<void> {
    await this.client.put('/boot-source', body, options);
  }

  async putCpuConfiguration(body: Wire<'CpuConfig'>, options?: CallOptions): Promise<void> {
    await this.client.put('/cpu-config', body, options);
  }

  /** Before the start, or after it where the VMM was started with `--enable-pci`. */
  async putGuestDriveByID(body: Wire<'Drive'>, options?: CallOptions): Promise<void> {
    await this.client.put(`/drives/${encodeURIComponent(body.drive_id)}`, body, options);
  }

  async patchGuestDriveByID(body: Wire<'PartialDrive'>, options?: CallOptions): Promise<void> {
    await this.client.patch(`/drives/${encodeURIComponent(body.drive_id)}`, body, options);
  }

  /** Takes a drive out of a running VM, once its guest has let go of it. Not in the API description, but in docs/device-hotplug.md. */
  async deleteGuestDriveByID(driveId: string, options?: CallOptions): Promise<void> {
    await this.client.delete(`/drives/${encodeURIComponent(driveId)}`, options);
  }

  async putGuestPmemByID(body: Wire<'Pmem'>, options?: CallOptions): Promise<void> {
    await this.client.put(`/pmem/${encodeURIComponent(body.id)}`, body, options);
  }

  async patchGuestPmemByID(body: Wire<'PartialPmem'>, options?: CallOptions): Promise<void> {
    await this.client.patch(`/pmem/${encodeURIComponent(body.id)}`, body, options);
  }

  /** As {@link deleteGuestDriveByID}. */
  async deleteGuestPmemByID(id: string, options?: CallOptions): Promise<void> {
    await this.client.delete(`/pmem/${encodeURIComponent(id)}`, options);
  }

  async putLogger(body: Wire<'Logger'>, options?: CallOptions): Promise<void> {
    await this.client.put('/logger', body, options);
  }

  async getMachineConfiguration(options?: CallOptions): Promise<WireAnswer<'MachineConfiguration'>> {
    return await this.client.get('/machine-config', options);
  }

  async putMachineConfiguration(body: Wire<'MachineConfiguration'>, options?: CallOptions): Promise<void> {
    await this.client.put('/machine-config', body, options);
  }

  /** The description asks for every field; the VMM takes any of them, but not none. */
  async patchMachineConfiguration(body: Partial<Wire<'MachineConfiguration'>>, options?: CallOptions): Promise<void> {
    await this.client.patch('/machine-config', body, options);
  }

  async putMetrics(body: Wire<'Metrics'>, options?: CallOptions): Promise<void> {
    await this.client.put('/metrics', body, options);
  }

  async putMmds(body: Wire<'MmdsContentsObject'>, options?: CallOptions): Promise<void> {
    await this.client.put('/mmds', body, options);
  }

  /** A JSON merge patch (RFC 7396). */
  async patchMmds(body: Wire<'MmdsContentsObject'>, options?: CallOptions): Promise<void> {
    await this.client.patch('/mmds', body, options);
  }

  async getMmds(options?: CallOptions): Promise<WireAnswer<'MmdsContentsObject'>> {
    return await this.client.get('/mmds', options);
  }

  async putMmdsConfig(body: Wire<'MmdsConfig'>, options?: CallOptions): Promise<void> {
    await this.client.put('/mmds/config', body, options);
  }

  async putEntropyDevice(body: Wire<'EntropyDevice'>, options?: CallOptions): Promise<void> {
    await this.client.put('/entropy', body, options);
  }

  async putSerialDevice(body: Wire<'SerialDevice'>, options?: CallOptions): Promise<void> {
    await this.client.put('/serial', body, options);
  }

  async putMemoryHotplug(body: Wire<'MemoryHotplugConfig'>, options?: CallOptions): Promise<void> {
    await this.client.put('/hotplug/memory', body, options);
  }

  async patchMemoryHotplug(body: Wire<'MemoryHotplugSizeUpdate'>, options?: CallOptions): Promise<void> {
    await this.client.patch('/hotplug/memory', body, options);
  }

  async getMemoryHotplug(options?: CallOptions): Promise<WireAnswer<'MemoryHotplugStatus'>> {
    return await this.client.get('/hotplug/memory', options);
  }

  /** Before the start, or after it where the VMM was started with `--enable-pci`. */
  async putGuestNetworkInterfaceByID(body: Wire<'NetworkInterface'>, options?: CallOptions): Promise<void> {
    await this.client.put(`/network-interfaces/${encodeURIComponent(body.iface_id)}`, body, options);
  }

  async patchGuestNetworkInterfaceByID(body: Wire<'PartialNetworkInterface'>, options?: CallOptions): Promise<void> {
    await this.client.patch(`/network-interfaces/${encodeURIComponent(body.iface_id)}`, body, options);
  }

  /** As {@link deleteGuestDriveByID}. */
  async deleteGuestNetworkInterfaceByID(ifaceId: string, options?: CallOptions): Promise<void> {
    await this.client.delete(`/network-interfaces/${encodeURIComponent(ifaceId)}`, options);
  }

  /** Of a paused VM. The VMM answers nothing else meanwhile. */
  async createSnapshot(body: Wire<'SnapshotCreateParams'>, options?: CallOptions): Promise<void> {
    await this.client.put('/snapshot/create', body, options);
  }

  /** On a VMM of which only the logger, metrics, serial device and MMDS contents are set. One that refuses, exits. */
  async loadSnapshot(body: Wire<'SnapshotLoadParams'>, options?: CallOptions): Promise<void> {
    await this.client.put('/snapshot/load', body, options);
  }

  async getFirecrackerVersion(options?: CallOptions): Promise<WireAnswer<'FirecrackerVersion'>> {
    return await this.client.get('/version', options);
  }

  async patchVm(body: Wire<'Vm'>, options?: CallOptions): Promise<void> {
    await this.client.patch('/vm', body, options);
  }

  async getExportVmConfig(options?: CallOptions): Promise<WireAnswer<'FullVmConfiguration'>> {
    return await this.client.get('/vm/config', options);
  }

  async putGuestVsock(body: Wire<'Vsock'>, options?: CallOptions): Promise<void> {
    await this.client.put('/vsock', body, options);
  }
}
