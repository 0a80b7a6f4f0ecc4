import * as bodies from '../api/bodies.js';
import { any, type Decoded, decode, defaulted, list, optional, struct } from '../api/decoder.js';
import { JsonError } from '../api/json-reader.js';
import { EXIT, FatalError } from '../exit.js';
import { Fault } from '../fault.js';
import type { Vmm } from './vmm.js';

const vmConfig = struct(
  'VmmConfig',
  {
    balloon: optional(any),
    drives: list(bodies.drive),
    'boot-source': bodies.bootSource,
    'cpu-config': optional(any),
    logger: optional(any),
    'machine-config': optional(bodies.machineConfig),
    metrics: optional(any),
    'mmds-config': optional(any),
    'network-interfaces': defaulted(list(bodies.networkInterface), []),
    vsock: optional(bodies.vsock),
    entropy: optional(any),
    pmem: defaulted(list(any), []),
    'memory-hotplug': optional(any),
  },
  'ignore',
);

/** Sections that have no device behind them here. Leaving them out in silence would start another VM than was asked for. */
const NOT_BUILT = ['balloon', 'cpu-config', 'logger', 'metrics', 'mmds-config', 'entropy', 'memory-hotplug'] as const;

/**
 * Configures and starts a VM from the content of `--config-file`.
 * @throws FatalError
 */
export async function startFromConfigFile(vmm: Vmm, content: Buffer): Promise<void> {
  const config = parse(content);
  const missing =
    NOT_BUILT.find((section) => config[section] !== null) ?? (config.pmem.length > 0 ? 'pmem' : undefined);
  if (missing !== undefined) {
    throw failed(`The requested operation is not supported: ${missing} in a configuration file`);
  }
  try {
    if (config['machine-config']) {
      await vmm.handle({ name: 'UpdateMachineConfiguration', parameters: config['machine-config'] });
    }
    await vmm.handle({ name: 'ConfigureBootSource', parameters: config['boot-source'] });
    for (const parameters of config.drives) {
      await vmm.handle({ name: 'InsertBlockDevice', parameters });
    }
    for (const parameters of config['network-interfaces']) {
      await vmm.handle({ name: 'InsertNetworkDevice', parameters });
    }
    if (config.vsock) {
      await vmm.handle({ name: 'SetVsockDevice', parameters: config.vsock });
    }
    await vmm.handle({ name: 'StartMicroVm', parameters: undefined });
  } catch (error) {
    throw error instanceof Fault ? failed(error.message) : error;
  }
}

function parse(content: Buffer): Decoded<typeof vmConfig> {
  try {
    return decode(vmConfig, content);
  } catch (error) {
    throw error instanceof JsonError ? failed(`Invalid JSON: ${error.message}`) : error;
  }
}

function failed(reason: string): FatalError {
  return new FatalError(
    `Failed to build MicroVM from Json: Configuration for VMM from one single json failed: ${reason}`,
    EXIT.error,
  );
}
