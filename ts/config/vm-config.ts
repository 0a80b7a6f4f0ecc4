import { SmartVMError } from '../errors.js';
import { applyMachineDefaults, type IMicroVMConfigWithDefaults } from './defaults.js';
import * as payloads from './payloads.js';
import type { IDriveConfig, IMicroVMConfig, INetworkInterfaceConfig } from './types.js';
import type { Check } from './validation/checks.js';
import { drive as driveCheck } from './validation/drives.js';
import { networkInterface as networkInterfaceCheck } from './validation/network-interfaces.js';
import { errorsOf, vmConfig } from './validation/vm-config.js';

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

  constructor(config: IMicroVMConfig) {
    const { copy, error } = copyOf(config);
    applyMachineDefaults(copy);
    this.#config = copy as IMicroVMConfigWithDefaults;
    this.#errors = error === undefined ? errorsOf(vmConfig, copy) : [error];
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
    return payloads.bootSourcePayload(this.#valid.bootSource);
  }

  /** Body of `PUT /machine-config`. */
  toMachineConfigPayload(): payloads.MachineConfigPayload {
    return payloads.machineConfigPayload(this.#valid.machineConfig);
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

  /** Body of `PUT /logger`; null when there is none. */
  toLoggerPayload(): payloads.LoggerPayload | null {
    return orNull(this.#valid.logger, payloads.loggerPayload);
  }

  /** Body of `PUT /metrics`; null when there is none. */
  toMetricsPayload(): payloads.MetricsPayload | null {
    return orNull(this.#valid.metrics, payloads.metricsPayload);
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
