import { Fault } from '../fault.js';
import type { ActionName, ActionParameters } from './actions.js';
import { getBalloon, patchBalloon, putBalloon } from './balloon-routes.js';
import * as bodies from './bodies.js';
import { cpuTemplate } from './cpu-template-body.js';
import * as devices from './device-bodies.js';
import { jsonValue } from './json-value.js';
import { checkedId, json, type ParsedRequest, type Route, type Routes, request, withId } from './parsed-request.js';
import { putSnapshot } from './snapshot-routes.js';

export type Method = 'GET' | 'PUT' | 'PATCH' | 'DELETE';

const get =
  <K extends ActionName>(name: K): Route =>
  () =>
    request(name, undefined as ActionParameters[K]);

const GET: Routes = {
  '': get('GetVmInstanceInfo'),
  balloon: getBalloon,
  hotplug: (rest) => (rest[0] === 'memory' ? request('GetMemoryHotplugStatus', undefined) : undefined),
  'machine-config': get('GetVmMachineConfig'),
  mmds: get('GetMmds'),
  version: get('GetVmmVersion'),
  vm: (rest) => (rest[0] === 'config' ? request('GetFullVmConfig', undefined) : undefined),
};

const PUT: Routes = {
  actions: (_rest, body) => request(actionOf(json(bodies.instanceAction, body).action_type), undefined),
  balloon: putBalloon,
  'boot-source': (_rest, body) => request('ConfigureBootSource', json(bodies.bootSource, body)),
  'cpu-config': (_rest, body) => request('PutCpuConfiguration', json(cpuTemplate, body)),
  drives: (rest, body) => request('InsertBlockDevice', withId(rest[0], bodies.drive, body, 'drive_id')),
  entropy: (_rest, body) => request('SetEntropyDevice', json(devices.entropy, body)),
  hotplug: (rest, body) =>
    rest[0] === 'memory' ? request('SetMemoryHotplugDevice', json(devices.memoryHotplug, body)) : undefined,
  logger: (_rest, body) => request('ConfigureLogger', json(devices.logger, body)),
  'machine-config': (_rest, body) => {
    const config = json(bodies.machineConfig, body);
    return request('UpdateMachineConfiguration', config, config.cpu_template !== null);
  },
  metrics: (_rest, body) => request('ConfigureMetrics', json(devices.metrics, body)),
  mmds: putMmds,
  'network-interfaces': (rest, body) =>
    request('InsertNetworkDevice', withId(rest[0], bodies.networkInterface, body, 'iface_id')),
  pmem: (rest, body) => request('InsertPmemDevice', withId(rest[0], devices.pmem, body, 'id')),
  serial: (_rest, body) => request('ConfigureSerial', json(devices.serial, body)),
  snapshot: putSnapshot,
  vsock: (_rest, body) => {
    const config = json(bodies.vsock, body);
    return request('SetVsockDevice', config, config.vsock_id !== null);
  },
};

const PATCH: Routes = {
  balloon: patchBalloon,
  drives: (rest, body) => request('UpdateBlockDevice', withId(rest[0], bodies.driveUpdate, body, 'drive_id')),
  hotplug: (rest, body) =>
    rest[0] === 'memory' ? request('UpdateMemoryHotplugSize', json(devices.memoryHotplugUpdate, body)) : undefined,
  'machine-config': (_rest, body) => {
    const update = json(bodies.machineConfigUpdate, body);
    if (Object.values(update).every((value) => value === null)) {
      throw new Fault('Empty PATCH request.');
    }
    return request('UpdateMachineConfiguration', update, update.cpu_template !== null);
  },
  mmds: (_rest, body) => request('PatchMmds', json(jsonValue, body)),
  'network-interfaces': (rest, body) =>
    request('UpdateNetworkInterface', withId(rest[0], bodies.networkInterfaceUpdate, body, 'iface_id')),
  pmem: (rest, body) => request('UpdatePmemDevice', withId(rest[0], devices.pmemUpdate, body, 'id')),
  vm: (_rest, body) => request(json(bodies.vmState, body).state === 'Paused' ? 'Pause' : 'Resume', undefined),
};

const unplug =
  (kind: ActionParameters['HotUnplugDevice']['kind']): Route =>
  (rest) =>
    request('HotUnplugDevice', { kind, id: checkedId(rest[0]) });

const DELETE: Routes = {
  drives: unplug('drives'),
  'network-interfaces': unplug('network-interfaces'),
  pmem: unplug('pmem'),
};

/** Every route of the API. The bodyless methods refuse a body, the others refuse to go without. */
const ROUTES: Readonly<Record<Method, { routes: Routes; body: boolean; refusal: string }>> = {
  GET: { routes: GET, body: false, refusal: 'GET request cannot have a body.' },
  PUT: { routes: PUT, body: true, refusal: 'Empty PUT request.' },
  PATCH: { routes: PATCH, body: true, refusal: 'Empty PATCH request.' },
  DELETE: { routes: DELETE, body: false, refusal: 'Empty Delete request.' },
};

/**
 * Turns a request into an action.
 * @param path the absolute path, with its leading slash
 * @throws Fault
 */
export function parseRequest(method: Method, path: string, body: Buffer | undefined): ParsedRequest {
  const [first = '', ...rest] = tokens(path);
  const { routes, body: wantsBody, refusal } = ROUTES[method];
  // Hinting is started and stopped without a body; the route itself refuses where there must be one.
  const optionalBody = method === 'PATCH' && first === 'balloon';
  if (wantsBody === (body === undefined) && !optionalBody) {
    throw new Fault(refusal);
  }
  const route = Object.hasOwn(routes, first) ? routes[first] : undefined;
  const parsed = route?.(rest, body ?? Buffer.alloc(0));
  if (!parsed) {
    throw new Fault(`Invalid request method and/or path: ${method} ${first}.`);
  }
  return parsed;
}

/** The parts of a path. A slash at its end opens no further part. */
function tokens(path: string): string[] {
  const parts = path.replace(/^\/+/, '').split('/');
  if (parts.at(-1) === '') {
    parts.pop();
  }
  return parts;
}

function actionOf(type: 'FlushMetrics' | 'InstanceStart' | 'SendCtrlAltDel') {
  if (type === 'SendCtrlAltDel' && process.arch === 'arm64') {
    throw new Fault('SendCtrlAltDel does not supported on aarch64.');
  }
  return type === 'InstanceStart' ? 'StartMicroVm' : type;
}

function putMmds([part]: readonly string[], body: Buffer): ParsedRequest {
  if (part === undefined) {
    return request('PutMmds', json(jsonValue, body));
  }
  if (part === 'config') {
    const config = json(devices.mmdsConfig, body);
    return request('SetMmdsConfiguration', config, config.version === 'V1');
  }
  throw new Fault(`Unrecognized PUT request path \`${part}\`.`);
}
