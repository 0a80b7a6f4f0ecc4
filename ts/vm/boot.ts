import { lstat, mkdir, rm } from 'node:fs/promises';
import type { VMConfig } from '../config/vm-config.js';
import { SmartVMError } from '../errors.js';
import type { DialGuest, Guest } from '../guest/types.js';
import type { CleanupStack } from '../util/cleanup-stack.js';
import { delay, throwIfCanceled } from '../util/deadline.js';
import { isKeeperAlive } from '../vmm/keeper.js';
import { VmmProcess } from '../vmm/vmm-process.js';

/**
 * Makes the files that a configuration names, in the VM's runtime directory or elsewhere, and gives the way to SmartVM's
 * agent where one is among them: the boot then waits for it, and for nothing in a guest that is a stranger.
 */
export type PrepareFiles = (runtimeDir: string, signal: AbortSignal) => Promise<DialGuest | undefined>;

/** What the steps of a boot work on; each step adds what it made, and its undo to `cleanup`. */
export interface BootContext {
  readonly id: string;
  readonly config: VMConfig;
  readonly executable: string;
  readonly extraArgs: readonly string[];
  readonly socketPath: string;
  readonly runtimeDir: string;
  readonly detached: boolean;
  readonly prepare: PrepareFiles | undefined;
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch. */
  readonly deadline: number;
  readonly cleanup: CleanupStack;
  /** Told of the VMM as soon as there is one, before it is configured. */
  readonly onVmm: (vmm: VmmProcess) => void;
  process?: VmmProcess;
  dial?: DialGuest | undefined;
  guest?: Guest;
}

export interface BootStep {
  readonly name: string;
  readonly run: (context: BootContext) => Promise<void>;
}

/** When a step ran, in milliseconds since the start of the boot. */
export interface StepTiming {
  readonly step: string;
  readonly startMs: number;
  readonly durationMs: number;
}

/** A boot from nothing to a guest that answers. The steps of one line run side by side, the lines one after the other. */
export const BOOT: readonly (readonly BootStep[])[] = [
  [{ name: 'runtime-directory', run: makeRuntimeDirectory }],
  [
    { name: 'files', run: makeFiles },
    { name: 'vmm', run: startVmm },
  ],
  [{ name: 'configure', run: configure }],
  [{ name: 'instance-start', run: startInstance }],
  [{ name: 'agent', run: connectAgent }],
];

const AGENT_POLL_MS = 15;
/** Without a logger Firecracker logs to stdout, in the middle of the guest's console. It takes one logger, once. */
const LOG_TO_STDERR = ['--log-path', '/dev/stderr', '--level', 'Warning'];

/**
 * Runs a boot. When a step fails, all that was made is undone, in reverse, before this rejects.
 * @throws SmartVMError the step's own, or START_FAILED around any other error and around errors of the undoing
 */
export async function boot(context: BootContext, timings: StepTiming[]): Promise<void> {
  const begin = performance.now();
  let current = '';
  try {
    for (const line of BOOT) {
      current = line.map((step) => step.name).join('+');
      throwIfCanceled(context.signal, `the start of VM ${context.id}`);
      // Settled, not raced: a step that still runs would make things after the undoing.
      const results = await Promise.allSettled(line.map((step) => timed(step, context, begin, timings)));
      const failed = results.find((result) => result.status === 'rejected');
      if (failed) {
        throw failed.reason;
      }
    }
  } catch (error) {
    throw await undo(context, current, await explain(context, error));
  }
}

async function timed(step: BootStep, context: BootContext, begin: number, timings: StepTiming[]): Promise<void> {
  const startMs = performance.now() - begin;
  await step.run(context);
  timings.push({ step: step.name, startMs, durationMs: performance.now() - begin - startMs });
}

async function explain(context: BootContext, error: unknown): Promise<unknown> {
  if (context.signal.aborted) {
    return new SmartVMError('CANCELED', `the start of VM ${context.id} was canceled`, { cause: context.signal.reason });
  }
  return context.process ? await context.process.explain(error) : error;
}

async function undo(context: BootContext, step: string, error: unknown): Promise<SmartVMError> {
  try {
    await context.cleanup.unwind();
  } catch (undoError) {
    const cause = new AggregateError([error, undoError]);
    return new SmartVMError(
      'START_FAILED',
      `VM ${context.id} failed at '${step}', and its clean-up too: ${cause.errors.join('; ')}`,
      { cause },
    );
  }
  return error instanceof SmartVMError
    ? error
    : new SmartVMError('START_FAILED', `VM ${context.id} failed at '${step}': ${(error as Error).message}`, {
        cause: error,
      });
}

async function makeRuntimeDirectory({ id, runtimeDir, socketPath, cleanup }: BootContext): Promise<void> {
  await mkdir(runtimeDir, { mode: 0o700 }).catch(async (cause: NodeJS.ErrnoException) => {
    throw cause.code === 'EEXIST' ? await taken(id, runtimeDir) : cause;
  });
  cleanup.push('runtime directory', () => rm(runtimeDir, { recursive: true, force: true }));
  if (await lstat(socketPath).catch(() => undefined)) {
    // Firecracker never removes its socket and dies of one that is there; whose it is, only its user can know.
    throw new SmartVMError(
      'VM_EXISTS',
      `${socketPath} exists: another VMM has it or has left it; remove it or name another`,
    );
  }
}

async function taken(id: string, runtimeDir: string): Promise<SmartVMError> {
  const lives = await isKeeperAlive(runtimeDir);
  return new SmartVMError(
    'VM_EXISTS',
    lives
      ? `VM ${id} is already running`
      : `${runtimeDir} was left by a VM that did not end in order; remove it or take another id`,
    { details: { id, runtimeDir } },
  );
}

async function makeFiles(context: BootContext): Promise<void> {
  context.dial = await context.prepare?.(context.runtimeDir, context.signal);
}

async function startVmm(context: BootContext): Promise<void> {
  const { id, config, executable, socketPath, runtimeDir, detached, cleanup } = context;
  const extraArgs = [...(config.config.logger ? [] : LOG_TO_STDERR), ...context.extraArgs];
  const vmm = await VmmProcess.start({ id, executable, extraArgs, socketPath, runtimeDir, detached });
  cleanup.push('api socket', () => rm(socketPath, { force: true }));
  cleanup.push('vmm', () => vmm.dispose());
  context.process = vmm;
  context.onVmm(vmm);
  await vmm.waitUntilReady(remaining(context), context.signal);
}

/** Firecracker's order: what the later devices refer to goes first, the logger before all so that it sees the rest. */
async function configure(context: BootContext): Promise<void> {
  const { config, signal } = context;
  const { api } = started(context);
  const put = async (path: string, payload: unknown) => {
    if (payload !== null) {
      await api.put(path, payload, { signal });
    }
  };
  await put('/logger', config.toLoggerPayload());
  await put('/metrics', config.toMetricsPayload());
  await put('/machine-config', config.toMachineConfigPayload());
  await put('/boot-source', config.toBootSourcePayload());
  for (const drive of config.config.drives ?? []) {
    await put(`/drives/${drive.driveId}`, config.toDrivePayload(drive));
  }
  for (const iface of config.config.networkInterfaces ?? []) {
    await put(`/network-interfaces/${iface.ifaceId}`, config.toNetworkInterfacePayload(iface));
  }
  const udsPath = config.config.vsock?.udsPath;
  if (udsPath !== undefined && !(await lstat(udsPath).catch(() => undefined))) {
    // Before the call, which may make the socket and fail nonetheless. One that is there already is not ours.
    context.cleanup.push('vsock socket', () => rm(udsPath, { force: true }));
  }
  await put('/vsock', config.toVsockPayload());
  await put('/balloon', config.toBalloonPayload());
  await put('/mmds/config', config.toMmdsConfigPayload());
}

async function startInstance(context: BootContext): Promise<void> {
  const timeoutMs = remaining(context);
  await started(context).api.put('/actions', { action_type: 'InstanceStart' }, { timeoutMs, signal: context.signal });
}

async function connectAgent(context: BootContext): Promise<void> {
  const { dial, signal } = context;
  if (!dial) {
    return;
  }
  const vmm = started(context);
  let refusal: unknown;
  while (vmm.exit === undefined) {
    throwIfCanceled(signal, `the start of VM ${context.id}`);
    if (remaining(context) <= 1) {
      throw await vmm.describe(
        'BOOT_TIMEOUT',
        `the guest agent did not answer in time (${(refusal as Error)?.message})`,
      );
    }
    try {
      const guest = await dial({ signal, timeoutMs: remaining(context), explain: (error) => vmm.explain(error) });
      context.guest = guest;
      context.cleanup.push('guest connection', () => guest.close());
      return;
    } catch (error) {
      refusal = error;
    }
    await Promise.race([delay(AGENT_POLL_MS, signal), vmm.exited]);
  }
  throw vmm.exitError;
}

function started(context: BootContext): VmmProcess {
  if (!context.process) {
    throw new SmartVMError('NO_CLIENT', `VM ${context.id} has no VMM yet`);
  }
  return context.process;
}

function remaining(context: BootContext): number {
  return Math.max(1, context.deadline - Date.now());
}
