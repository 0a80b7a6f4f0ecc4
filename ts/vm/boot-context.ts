import type { GuestInit } from '../config/guest-init.js';
import type { VmTags } from '../config/labels.js';
import { type LifetimeOptions, lifetimeOf } from '../config/lifetime.js';
import type { NetworkAttachment } from '../config/network.js';
import type { IRestoreOptions } from '../config/restore.js';
import type { VMConfig } from '../config/vm-config.js';
import { SmartVMError } from '../errors.js';
import type { ReadyOptions } from '../guest/ready/ready.js';
import type { DialGuest, Guest } from '../guest/types.js';
import { CleanupStack } from '../util/cleanup-stack.js';
import type { Holder } from '../util/holder.js';
import type { Confine, Confinement } from '../vmm/confinement.js';
import type { VmmKind } from '../vmm/find.js';
import type { VmmFlags } from '../vmm/flags.js';
import type { Launcher } from '../vmm/launcher.js';
import { Launchers } from '../vmm/launchers.js';
import type { VmRecord } from '../vmm/registry/record.js';
import type { RecordFile } from '../vmm/registry/record-file.js';
import type { Telemetry } from '../vmm/telemetry.js';
import type { VmmProcess } from '../vmm/vmm-process.js';
import type { Connect, VmConnection } from './network.js';
import type { MicroVMOptions } from './types.js';

/**
 * Makes the files that a configuration names, in the VM's runtime directory or elsewhere, and gives the way to SmartVM's
 * agent where one is among them: the boot then waits for it, and for nothing in a guest that is a stranger.
 */
export type PrepareFiles = (
  runtimeDir: string,
  signal: AbortSignal,
  attachments: readonly NetworkAttachment[],
) => Promise<DialGuest | undefined>;

/** Takes what the VM needs of the host, in line for up to `queueMs` if others have it, and gives the way to give it back. */
export type Reserve = (wait: { queueMs: number; signal: AbortSignal }) => Promise<() => void>;

/** Makes the VM's name its own among those that live, and gives the way to give it back. */
export type ClaimName = (signal: AbortSignal) => Promise<Undo>;

export type Undo = () => Promise<void>;

/** What a VM has outside of its directory and has to take first, because only one VM at a time may have it. */
export interface Claim {
  /** For the journal; see util/held-file.ts. */
  readonly paths: readonly string[];
  /** Whether what the guest writes outlives the VM, so that its end is to be an orderly one. */
  readonly keeps: boolean;
  /** Takes it, and gives the way to give it back when the VMM has ended. */
  readonly take: (holder: Holder, signal: AbortSignal) => Promise<Undo>;
  /**
   * Called when the guest answers: the VM has come so far that what it writes is worth keeping.
   * @param failed rejects when the VM ends, or its start is canceled or takes too long
   */
  readonly keep: (guest: Guest | undefined, failed: Promise<never>) => Promise<void>;
}

/** What the steps of a boot work on; each step adds what it made, and its undo to `cleanup`. */
export interface BootContext {
  readonly id: string;
  readonly config: VMConfig;
  readonly restore: IRestoreOptions | undefined;
  readonly executable: string;
  readonly vmmFlags: VmmFlags;
  readonly extraArgs: readonly string[];
  readonly socketPath: string;
  readonly runtimeDir: string;
  readonly detached: boolean;
  readonly removeOnExit: boolean;
  readonly lifetime: LifetimeOptions;
  readonly ready: ReadyOptions;
  /** The record of a VM that runs already, to which this is to be attached. */
  readonly attach: VmRecord | undefined;
  readonly vmmKind: VmmKind | undefined;
  readonly tags: VmTags & Pick<MicroVMOptions, 'imageConfig'>;
  readonly confine: Confine | undefined;
  readonly reserve: Reserve | undefined;
  readonly claimName: ClaimName | undefined;
  readonly connect: Connect | undefined;
  readonly queueMs: number;
  readonly prepare: PrepareFiles | undefined;
  readonly init: GuestInit | undefined;
  readonly command: readonly string[] | undefined;
  readonly claim: Claim | undefined;
  readonly signal: AbortSignal;
  /** On the clock of performance.now(), which no change of the time moves. */
  deadline: number;
  readonly cleanup: CleanupStack;
  /** Told of the VMM as soon as there is one, before it is configured. */
  readonly onVmm: (vmm: VmmProcess) => void;
  record?: RecordFile;
  /** What it has of networks. */
  connection?: VmConnection;
  /** Whether the guest is paused when this is through. */
  isPaused?: boolean;
  confinement?: Confinement;
  readonly launchers: Launchers;
  launcher?: Launcher;
  process?: VmmProcess;
  telemetry?: Telemetry;
  dial?: DialGuest | undefined;
  guest?: Guest;
  /** From then on the end of the command ends the VM. */
  letGoOfCommand?: (() => void) | undefined;
}

/** The context of a boot that begins. */
export function bootContext(
  { id, config, socketPath }: Pick<BootContext, 'id' | 'config' | 'socketPath'>,
  executable: string,
  options: MicroVMOptions,
  start: Pick<BootContext, 'signal' | 'queueMs' | 'deadline' | 'onVmm'>,
): BootContext {
  const { restore, confine, reserve, claimName, connect, prepare, claim, attach } = options;
  return {
    ...{ id, config, socketPath, executable, restore, confine, reserve, claimName, connect, prepare, claim },
    vmmKind: options.vmmKind,
    tags: { name: options.name, labels: options.labels, image: options.image, imageConfig: options.imageConfig },
    vmmFlags: options.vmmFlags ?? {},
    extraArgs: options.extraArgs ?? [],
    runtimeDir: options.runtimeDir ?? `${socketPath}.d`,
    detached: options.detached ?? false,
    init: options.init,
    command: options.command,
    removeOnExit: options.removeOnExit ?? false,
    lifetime: lifetimeOf(options),
    ready: { readyWhen: options.readyWhen, readyTimeoutMs: options.readyTimeoutMs },
    attach: attach?.record,
    dial: attach?.dial,
    launchers: options.launchers ?? new Launchers(),
    cleanup: new CleanupStack(id),
    ...start,
  };
}

/** The record of a boot that has come so far. */
export function recorded(context: BootContext): RecordFile {
  if (!context.record) {
    throw new SmartVMError('NO_CLIENT', `VM ${context.id} has no directory yet`);
  }
  return context.record;
}

/** In which state a boot that is through has brought the VM. */
export function startedState(context: BootContext): 'running' | 'paused' {
  return (context.isPaused ?? context.restore?.resume === false) ? 'paused' : 'running';
}

/** The VMM of a boot that has come so far. */
export function started(context: BootContext): VmmProcess {
  if (!context.process) {
    throw new SmartVMError('NO_CLIENT', `VM ${context.id} has no VMM yet`);
  }
  return context.process;
}

/** Milliseconds that are left of the boot, at least 1. */
export function remaining(context: BootContext): number {
  return Math.max(1, context.deadline - performance.now());
}
