import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { configPaths, restorePaths } from '../config/host-paths.js';
import { gatedFields } from '../config/since.js';
import { SmartVMError } from '../errors.js';
import { delay, linkSignals, throwIfCanceled } from '../util/deadline.js';
import { currentProcess } from '../util/process-identity.js';
import { FLAGS_SINCE, flagPaths, vmmArguments } from '../vmm/flags.js';
import { guestSizeOf } from '../vmm/guest-size.js';
import { endUnnamed } from '../vmm/registry/processes.js';
import { Telemetry } from '../vmm/telemetry.js';
import { assertNewEnough, versionOfExecutable } from '../vmm/version.js';
import { vmmFolder } from '../vmm/vm-folder.js';
import { VmmProcess } from '../vmm/vmm-process.js';
import { awaitGuestNetwork, connectAgent, startCommand } from './agent.js';
import { attachVmm } from './attach.js';
import { type BootContext, recorded, remaining, started } from './boot-context.js';
import { configure, loadSnapshot, restoreMetadata, startInstance } from './configure.js';
import { awaitInit } from './init.js';
import { beginLife } from './lifetime.js';
import { jailNetwork, plumbNetwork, takeAddresses } from './network.js';
import { publishPorts } from './ports.js';
import { awaitReadiness } from './ready.js';
import { makeRuntimeDirectory } from './runtime-directory.js';
import { StepLog, type StepTiming } from './step-log.js';

export interface BootStep {
  readonly name: string;
  /** @param signal the start's, which also aborts when another step of its line has failed */
  readonly run: (context: BootContext, signal: AbortSignal) => Promise<void>;
}

/** The steps of one line run side by side, the lines one after the other. */
type Steps = readonly (readonly BootStep[])[];

const BRING_UP: Steps = [
  [{ name: 'capacity', run: reserveCapacity }],
  [
    { name: 'launcher', run: takeLauncher },
    { name: 'addresses', run: takeAddresses },
  ],
  [{ name: 'runtime-directory', run: makeRuntimeDirectory }],
  [
    { name: 'name', run: takeName },
    { name: 'layer', run: takeLayer },
  ],
  [
    { name: 'jail', run: makeJail },
    { name: 'network', run: plumbNetwork },
  ],
  [
    { name: 'files', run: makeFiles },
    { name: 'vmm', run: startVmm },
  ],
];
const PORTS: BootStep = { name: 'ports', run: publishPorts };
const RECORD: BootStep = { name: 'record', run: recordProcesses };
const READY: BootStep = { name: 'ready', run: awaitReadiness };
const SEAL: Steps = [[{ name: 'seal', run: sealVm }]];
const AGENT: Steps = [[{ name: 'agent', run: connectAgent }], [{ name: 'guest-network', run: awaitGuestNetwork }]];

/** A boot from nothing to a guest that answers and runs its command. */
export const BOOT: Steps = [
  ...BRING_UP,
  [{ name: 'configure', run: configure }, PORTS],
  [{ name: 'instance-start', run: startInstance }, RECORD],
  ...SEAL,
  ...AGENT,
  [{ name: 'init', run: awaitInit }],
  [{ name: 'keep', run: keepLayer }],
  [{ name: 'command', run: startCommand }],
  [READY],
];

/** A start from a snapshot to a guest that answers again. */
export const RESTORE: Steps = [
  ...BRING_UP,
  [PORTS],
  [{ name: 'load-snapshot', run: loadSnapshot }, RECORD],
  ...SEAL,
  [{ name: 'metadata', run: restoreMetadata }],
  ...AGENT,
  [READY],
];

/** In place of a start, for a VM that runs. Its guest is reached when it is there. */
const ATTACH: Steps = [[{ name: 'attach', run: attachVmm }]];

/**
 * Runs a boot. When a step fails, all that was made is undone, in reverse, before this rejects.
 * @throws SmartVMError the step's own, or START_FAILED around any other error and around errors of the undoing
 */
export async function boot(context: BootContext, timings: StepTiming[]): Promise<void> {
  const log = new StepLog(context, timings);
  let current = '';
  try {
    for (const line of context.attach ? ATTACH : context.restore ? RESTORE : BOOT) {
      current = line.map((step) => step.name).join('+');
      throwIfCanceled(context.signal, `the start of VM ${context.id}`);
      await runLine(line, context, log);
    }
    current = context.detached ? 'detach' : 'lifetime';
    if (!context.attach) {
      await beginLife(context);
    }
    context.launchers.prepare();
    context.letGoOfCommand?.();
    log.end();
  } catch (error) {
    log.abandon();
    throw await undo(context, current, await explain(context, error));
  }
}

async function runLine(line: readonly BootStep[], context: BootContext, log: StepLog): Promise<void> {
  const failure = new AbortController();
  using linked = linkSignals([context.signal, failure.signal]);
  let first: { error: unknown } | undefined;
  const run = async (step: BootStep) => {
    try {
      await log.run(step.name, () => step.run(context, linked.signal));
    } catch (error) {
      first ??= { error };
      failure.abort(); // what its neighbours make is for nothing
    }
  };
  // All of them, not the first: a step that still runs would make things after the undoing.
  await Promise.all(line.map(run));
  if (first) {
    throw first.error;
  }
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

async function reserveCapacity(context: BootContext, signal: AbortSignal): Promise<void> {
  const begin = performance.now();
  const release = await context.reserve?.({ queueMs: context.queueMs, signal });
  if (release) {
    context.cleanup.push('capacity', release);
  }
  context.deadline += performance.now() - begin; // to wait in line is not to start
}

async function takeLauncher(context: BootContext): Promise<void> {
  const launcher = await context.launchers.take();
  context.cleanup.push('launcher', () => launcher.end());
  context.launcher = launcher;
}

async function takeName(context: BootContext, signal: AbortSignal): Promise<void> {
  const release = await context.claimName?.(signal);
  if (release) {
    context.cleanup.push('name', release);
  }
}

async function takeLayer({ id, runtimeDir, claim, cleanup }: BootContext, signal: AbortSignal): Promise<void> {
  const undo = await claim?.take({ id, runtimeDir, owner: currentProcess() }, signal);
  if (undo) {
    cleanup.push('layer', undo);
  }
}

async function keepLayer(context: BootContext, signal: AbortSignal): Promise<void> {
  const { id, claim, guest } = context;
  if (!claim) {
    return;
  }
  const vmm = started(context);
  const kept = new AbortController();
  const late = async () => {
    await delay(remaining(context), AbortSignal.any([signal, kept.signal]));
    throwIfCanceled(signal, `the start of VM ${id}`);
    throw await vmm.describe('BOOT_TIMEOUT', 'the guest did not mount its root file system in time');
  };
  const ended = async () => {
    await vmm.exited;
    throw vmm.exitError;
  };
  const failed = Promise.race([late(), ended()]);
  failed.catch(() => undefined); // nobody asks once it is kept
  await claim.keep(guest, failed).finally(() => kept.abort());
}

async function makeJail(context: BootContext, signal: AbortSignal): Promise<void> {
  const { id, runtimeDir, socketPath, restore, vmmFlags, cleanup } = context;
  const { config } = context.config;
  const confinement = await context.confine?.({
    id,
    runtimeDir,
    paths: [
      { path: dirname(socketPath), access: 'write' },
      ...configPaths(config),
      ...flagPaths(vmmFlags),
      ...(restore ? restorePaths(restore) : []),
    ],
    ...jailNetwork(context),
    guest: await guestSizeOf(config, restore),
    journal: (entries) => recorded(context).journal(entries),
    signal,
  });
  if (confinement) {
    cleanup.push('jail', () => confinement.release());
    context.confinement = confinement;
  }
}

async function makeFiles(context: BootContext, signal: AbortSignal): Promise<void> {
  const { config, runtimeDir, cleanup } = context;
  const telemetry = await Telemetry.open(config.config, vmmFolder(runtimeDir), join(runtimeDir, 'vmm.log'));
  cleanup.push('telemetry', () => telemetry.close());
  context.telemetry = telemetry;
  context.dial = await context.prepare?.(runtimeDir, signal, context.connection?.attachments ?? []);
  await context.confinement?.own();
}

async function startVmm(context: BootContext, signal: AbortSignal): Promise<void> {
  const { id, config, executable, socketPath, runtimeDir, confinement, launcher, cleanup } = context;
  const gates = gatedFields(FLAGS_SINCE, { vmmFlags: context.vmmFlags });
  if (gates.length > 0) {
    // An unknown flag ends the VMM before its API could tell the version.
    assertNewEnough(gates, await versionOfExecutable(executable, signal));
  }
  const hasLogger = config.config.logger !== undefined;
  const extraArgs = [...vmmArguments(context.vmmFlags, hasLogger, confinement?.stderrPath), ...context.extraArgs];
  const { networkNamespace } = jailNetwork(context);
  const options = { id, executable, extraArgs, socketPath, runtimeDir, confinement, launcher, networkNamespace };
  const vmm = await VmmProcess.start(options).catch(async (error: unknown) => {
    await endUnnamed(runtimeDir, recorded(context).record);
    throw error;
  });
  cleanup.push('api socket', () => rmSync(socketPath, { force: true }));
  cleanup.push('vmm', () => vmm.dispose());
  context.process = vmm;
  context.onVmm(vmm);
  await vmm.waitUntilReady(remaining(context), signal);
}

/** While the VMM is busy with its guest: the record is in nobody's way then. */
async function recordProcesses(context: BootContext): Promise<void> {
  await recorded(context).update({ processes: started(context).processes });
}

/** The last moment at which a VM is not in use yet: its VMM has made all that it makes. */
async function sealVm({ confinement }: BootContext): Promise<void> {
  await confinement?.seal();
}
