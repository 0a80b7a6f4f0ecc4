export type { AttachOptions, AttachReport } from './attach.js';
export type { CapacityDemand, CapacityOptions } from './config/capacity.js';
export { type DebianOptions, debianReference } from './config/debian.js';
export type * from './config/device-types.js';
export type { Egress, EgressRule, EgressTarget } from './config/egress.js';
export type { GuestInit } from './config/guest-init.js';
export type { ImageCommandOptions, ImageConfig } from './config/image-config.js';
export type { JailLimits, JailOptions } from './config/jail.js';
export type { LayerKind, LayerOptions } from './config/layers.js';
export type { LifetimeOptions } from './config/lifetime.js';
export type { NetworkAttachment, NetworkDefinition, NetworkMode, NetworkRequest } from './config/network.js';
export type { NetworkChoice, NetworkChoices } from './config/network-choice.js';
export type {
  DropCount,
  FrameDrop,
  InterfaceCounters,
  NetworkEvent,
  RefusedAttempt,
  WatchOptions as NetworkWatchOptions,
} from './config/network-events.js';
export type { PublishedPort } from './config/publish.js';
export type { IMemoryBackend, IRestoreOptions } from './config/restore.js';
export type * from './config/types.js';
export type {
  BalloonHintingOptions,
  BalloonStatisticsUpdate,
  BalloonUpdate,
  DriveUpdate,
  MemoryHotplugUpdate,
  NetworkInterfaceUpdate,
  PmemUpdate,
  SnapshotOptions,
} from './config/updates.js';
export { VMConfig } from './config/vm-config.js';
export type { Area, Finding, Verdict } from './doctor/finding.js';
export { ERROR_CODES, isSmartVMError, SmartVMError, type SmartVMErrorCode } from './errors.js';
export { FirecrackerApi } from './firecracker/api.js';
export type { ApiCallMessage } from './firecracker/api-channel.js';
export { ApiError } from './firecracker/api-error.js';
export { type CallOptions, SocketClient, type SocketClientOptions } from './firecracker/socket-client.js';
export type { Answer, Wire, WireAnswer } from './firecracker/wire.js';
export { ExecError } from './guest/exec-error.js';
export type { ExecEvent, ExecInput, ExecOptions, ExecResult, OutputEncoding, OutputOf } from './guest/exec-types.js';
export type { Execution } from './guest/execution.js';
export type { GuestFiles } from './guest/files/guest-files.js';
export type * from './guest/files/types.js';
export type { FileWatcher } from './guest/files/watcher.js';
export type { GuestMetrics } from './guest/metrics.js';
export type { GuestAddress, GuestTcpAddress, GuestUnixAddress } from './guest/ports/address.js';
export type { ForwardedPort, ForwardPortOptions } from './guest/ports/forward.js';
export type { WaitForPortOptions } from './guest/ports/wait.js';
export type { ProcessInfo } from './guest/process-info.js';
export type { GuestProcesses } from './guest/processes.js';
export type * from './guest/ready/types.js';
export * as ready from './guest/ready/waits.js';
export type { OpenPtyOptions } from './guest/terminal.js';
export type {
  GuestCommand,
  GuestProcess,
  ProcessExit,
  ProcessLimits,
  SpawnDetachedOptions,
  SpawnOptions,
  SpawnProcessOptions,
  TerminalSize,
} from './guest/types.js';
export { BaseImageManager } from './images/base-image-manager.js';
export type * from './images/base-image-types.js';
export {
  type BootImage,
  type CollectedThing,
  type FirecrackerBinaries,
  type HeldImage,
  ImageManager,
  type ImageProgress,
  type ResolveOptions,
  type StoredImage,
} from './images/image-manager.js';
export type { KeptLayer, ListedLayer } from './images/layers/kept.js';
export type { ImageManifest } from './images/store/manifests.js';
export type { LaunchOptions } from './launch.js';
export type { Layers } from './layers.js';
export { NetworkManager } from './network/network-manager.js';
export type { Networks } from './network/networks.js';
export { type CreateVMOptions, SmartVM, type SmartVMOptions } from './smartvm.js';
export type { StepMessage, TracedMessage } from './util/traced.js';
export type { StateMessage, StateReason } from './vm/channels.js';
export type { ExitReason, VmExit } from './vm/exit.js';
export { MicroVM } from './vm/micro-vm.js';
export type { ShutdownRung } from './vm/shutdown.js';
export type { VmState } from './vm/state.js';
export type { StepTiming } from './vm/step-log.js';
export type { MicroVMEvents, MicroVMOptions, StartOptions, StopOptions, StopResult } from './vm/types.js';
export type { VmInterface, VmNetwork } from './vm/vm-network.js';
export type { VmmFlags } from './vmm/flags.js';
export type { LatencyAggregate, MetricsGroup, MetricsSample } from './vmm/metrics.js';
export type { PrunedThing, PrunedVm, PruneOptions, PruneReport } from './vmm/registry/prune.js';
export type { UnreadableEntry } from './vmm/registry/scan.js';
