import { readFile } from 'node:fs/promises';
import type { ActionName, ActionParameters, VmmAction } from '../api/actions.js';
import * as bodies from '../api/bodies.js';
import { cpuTemplate } from '../api/cpu-template-body.js';
import { type Decoded, type Decoder, decode, defaulted, list, optional, struct } from '../api/decoder.js';
import * as devices from '../api/device-bodies.js';
import { JsonError } from '../api/json-reader.js';
import { EXIT, FatalError } from '../exit.js';
import { Fault, osErrorText } from '../fault.js';
import type { Vmm } from './vmm.js';

/** A CPU template in place, or the path of a file with one. */
const cpuConfig: Decoder<unknown> = { read: (json) => (json.peek() === '"' ? json.string() : cpuTemplate.read(json)) };

const vmConfig = struct(
  'VmmConfig',
  {
    balloon: optional(devices.balloon),
    drives: list(bodies.drive),
    'boot-source': bodies.bootSource,
    'cpu-config': optional(cpuConfig),
    logger: optional(devices.logger),
    'machine-config': optional(bodies.machineConfig),
    metrics: optional(devices.metrics),
    'mmds-config': optional(devices.mmdsConfig),
    'network-interfaces': defaulted(list(bodies.networkInterface), []),
    vsock: optional(bodies.vsock),
    entropy: optional(devices.entropy),
    pmem: defaulted(list(devices.pmem), []),
    'memory-hotplug': optional(devices.memoryHotplug),
  },
  'ignore',
);

/**
 * Configures and starts a VM from the content of `--config-file`.
 * @throws FatalError
 */
export async function startFromConfigFile(vmm: Vmm, content: Buffer): Promise<void> {
  const config = parse(content);
  try {
    await checkCpuFile(config['cpu-config']);
    for (const action of actions(config)) {
      await vmm.handle(action);
    }
  } catch (error) {
    throw error instanceof Fault || error instanceof JsonError ? failed(error.message) : error;
  }
}

/** The requests that would configure and start the same VM, in Firecracker's order. */
function actions(config: Decoded<typeof vmConfig>): VmmAction[] {
  const given = <K extends ActionName>(name: K, parameters: ActionParameters[K] | null): VmmAction[] =>
    parameters === null ? [] : [{ name, parameters } as VmmAction];
  return [
    ...given('ConfigureLogger', config.logger),
    ...given('ConfigureMetrics', config.metrics),
    ...given('UpdateMachineConfiguration', config['machine-config']),
    ...given('PutCpuConfiguration', config['cpu-config']),
    ...given('ConfigureBootSource', config['boot-source']),
    ...config.drives.flatMap((drive) => given('InsertBlockDevice', drive)),
    ...config['network-interfaces'].flatMap((net) => given('InsertNetworkDevice', net)),
    ...given('SetVsockDevice', config.vsock),
    ...given('SetBalloonDevice', config.balloon),
    ...given('SetMmdsConfiguration', config['mmds-config']),
    ...given('SetEntropyDevice', config.entropy),
    ...config.pmem.flatMap((pmem) => given('InsertPmemDevice', pmem)),
    ...given('SetMemoryHotplugDevice', config['memory-hotplug']),
    { name: 'StartMicroVm', parameters: undefined },
  ];
}

/** @throws Fault, JsonError */
async function checkCpuFile(config: unknown): Promise<void> {
  if (typeof config === 'string') {
    const content = await readFile(config).catch((cause) => {
      throw new Fault(`File operation error: ${osErrorText(cause)}`);
    });
    decode(cpuTemplate, content);
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
