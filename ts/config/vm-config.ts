import { SmartVMError } from '../errors.js';
import { applyMachineDefaults, type IMicroVMConfigWithDefaults } from './defaults.js';
import * as devicePayloads from './device-payloads.js';
import type { IPmemConfig } from './device-types.js';
import * as payloads from './payloads.js';
import type { IDriveConfig, IMicroVMConfig, INetworkInterfaceConfig, IRestoredMicroVMConfig } from './types.js';
import { bootSource as bootSourceCheck } from './validation/boot-source.js';
import type { Check } from './validation/checks.js';
import { errorsOf } from './validation/checks.js';
import { pmemDevice as pmemCheck } from './validation/devices.js';
import { drive as driveCheck } from './validation/drives.js';
import { networkInterface as networkInterfaceCheck } from './validation/network-interfaces.js';
import { restoredVmConfig, vmConfig } from './validation/vm-config.js';

export interface IValidationResult {
  valid: boolean;
  /** Every problem, the path of its field first: 'vsock.guestCid must be >= 3'. */
  errors: string[];
}

/**
 * The configuration of a VM, as it was when it was given: it shares nothing with the caller, in either direction.
 * The constructor takes anything and `validate()` judges it; payload methods give what the API takes.
 */
export class VMConfig {
  readonly #config: IMicroVMConfigWithDefaults;
  readonly #errors: readonly string[];

  /** @param origin `snapshot`: the VM's hardware is in a snapshot, and the configuration says nothing of it */
  constructor(config: IMicroVMConfig | IRestoredMicroVMConfig, origin: 'boot' | 'snapshot' = 'boot') {
    const { copy, error } = copyOf(config);
    if (origin === 'boot') {
      applyMachineDefaults(copy);
    }
    this.#config = copy as IMicroVMConfigWithDefaults;
    this.#errors = error === undefined ? errorsOf(origin === 'boot' ? vmConfig : restoredVmConfig, copy) : [error];
  }

  /** A fresh copy, with the machine's defaults in it. Its type holds when `validate()` says so. */
  get config(): IMicroVMConfigWithDefaults {
    return structuredClone(this.#config);
  }

  /** Looks for everything that the VMM would refuse and that can be known without the host. Never throws. */
  validate(): IValidationResult {
    return { valid: this.#errors.length === 0, errors: [...this.#errors] };
  }

  /** @throws SmartVMError INVALID_CONFIG with every problem in its message and in `details.errors` */
  assertValid(): void {
    throwIfAny(this.#errors, 'VM configuration');
  }

  /** Body of `PUT /boot-source`. @throws SmartVMError INVALID_CONFIG, as every payload method does */
  toBootSourcePayload(): payloads.BootSourcePayload {
    return payloads.bootSourcePayload(checked(bootSourceCheck, this.#valid.bootSource, 'bootSource'));
  }

  /** Body of `PUT /machine-config`. */
  toMachineConfigPayload(): payloads.MachineConfigPayload {
    return payloads.machineConfigPayload(this.#valid.machineConfig);
  }

  /** Body of `PUT /cpu-config`; null when there is none. */
  toCpuConfigPayload(): devicePayloads.CpuConfigPayload | null {
    return orNull(this.#valid.cpuConfig, devicePayloads.cpuConfigPayload);
  }

  /** Body of `PUT /pmem/{id}`, also for a device that is not part of this configuration. */
  toPmemPayload(device: IPmemConfig): devicePayloads.PmemPayload {
    return devicePayloads.pmemPayload(checked(pmemCheck, device, 'pmem'));
  }

  /** Body of `PUT /entropy`; null when there is none. */
  toEntropyPayload(): devicePayloads.EntropyPayload | null {
    return orNull(this.#valid.entropy, devicePayloads.entropyPayload);
  }

  /** Body of `PUT /serial`; null when there is none. */
  toSerialPayload(): devicePayloads.SerialPayload | null {
    return orNull(this.#valid.serial, devicePayloads.serialPayload);
  }

  /** Body of `PUT /hotplug/memory`; null when there is none. */
  toMemoryHotplugPayload(): devicePayloads.MemoryHotplugPayload | null {
    return orNull(this.#valid.memoryHotplug, devicePayloads.memoryHotplugPayload);
  }

  /** Body of `PUT /mmds`; null when it holds nothing at first. */
  toMmdsContentsPayload(): Record<string, unknown> | null {
    return orNull(this.#valid.mmds?.contents, (contents) => structuredClone(contents));
  }

  /** Body of `PUT /drives/{drive_id}`, also for a drive that is not part of this configuration. */
  toDrivePayload(drive: IDriveConfig): payloads.DrivePayload {
    return payloads.drivePayload(checked(driveCheck, drive, 'drive'));
  }

  /** Body of `PUT /network-interfaces/{iface_id}`, also for an interface that is not part of this configuration. */
  toNetworkInterfacePayload(iface: INetworkInterfaceConfig & { hostDevName: string }): payloads.NetworkInterfacePayload;
  toNetworkInterfacePayload(iface: INetworkInterfaceConfig): payloads.UnboundNetworkInterfacePayload;
  toNetworkInterfacePayload(iface: INetworkInterfaceConfig): payloads.UnboundNetworkInterfacePayload {
    return payloads.networkInterfacePayload(checked(networkInterfaceCheck, iface, 'networkInterface'));
  }

  /** Body of `PUT /vsock`; null when there is none. */
  toVsockPayload(): payloads.VsockPayload | null {
    return orNull(this.#valid.vsock, payloads.vsockPayload);
  }

  /** Body of `PUT /balloon`; null when there is none. */
  toBalloonPayload(): payloads.BalloonPayload | null {
    return orNull(this.#valid.balloon, payloads.balloonPayload);
  }

  /** Body of `PUT /mmds/config`; null when there is none. */
  toMmdsConfigPayload(): payloads.MmdsConfigPayload | null {
    return orNull(this.#valid.mmds, payloads.mmdsConfigPayload);
  }

  /** Body of `PUT /logger`, with `logPath` where the configuration names none; null when there is no logger. */
  toLoggerPayload(logPath?: string): payloads.LoggerPayload | null {
    return orNull(this.#valid.logger, (logger) =>
      payloads.loggerPayload({ ...logger, logPath: logger.logPath ?? logPath }),
    );
  }

  /** Body of `PUT /metrics`, with `metricsPath` where the configuration names none; null when there are no metrics. */
  toMetricsPayload(metricsPath?: string): payloads.MetricsPayload | null {
    return orNull(this.#valid.metrics, (metrics) => {
      const path = metrics.metricsPath ?? metricsPath;
      if (path === undefined) {
        throw new SmartVMError('INVALID_CONFIG', 'metrics.metricsPath is not named by anybody');
      }
      return payloads.metricsPayload({ ...metrics, metricsPath: path });
    });
  }

  get #valid(): IMicroVMConfigWithDefaults {
    this.assertValid();
    return this.#config;
  }
}

function copyOf(config: unknown): { copy: unknown; error?: string } {
  try {
    return { copy: structuredClone(config) };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'it throws when it is read';
    return { copy: {}, error: `config must be plain data: ${reason}` };
  }
}

function checked<T>(check: Check, value: T, path: string): T {
  throwIfAny(errorsOf(check, value, path), path);
  return value;
}

function throwIfAny(errors: readonly string[], what: string): void {
  if (errors.length > 0) {
    throw new SmartVMError('INVALID_CONFIG', `invalid ${what}: ${errors.join('; ')}`, {
      details: { errors: [...errors] },
    });
  }
}

function orNull<T, P>(part: T | undefined, payload: (part: T) => P): P | null {
  return part === undefined ? null : payload(part);
}
