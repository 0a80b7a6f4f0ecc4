import { Fault } from '../fault.js';
import type { ActionName, ActionParameters, VmmAction } from './actions.js';
import * as bodies from './bodies.js';
import { type Decoder, decode } from './decoder.js';
import { JsonError } from './json-reader.js';

export type Method = 'GET' | 'PUT' | 'PATCH' | 'DELETE';

export interface ParsedRequest {
  readonly action: VmmAction;
  /** A deprecated field was used: the answer gets a `Deprecation` header. */
  readonly deprecated: boolean;
}

/** Parses what follows the first part of the path, and the body. Undefined: no such route after all. */
type Route = (rest: readonly string[], body: Buffer) => ParsedRequest | undefined;
type Routes = Readonly<Record<string, Route>>;

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
  'boot-source': (_rest, body) => request('ConfigureBootSource', json(bodies.bootSource, body)),
  drives: (rest, body) => request('InsertBlockDevice', withId(rest[0], bodies.drive, body, 'drive_id')),
  'machine-config': (_rest, body) => {
    const config = json(bodies.machineConfig, body);
    return request('UpdateMachineConfiguration', config, config.cpu_template !== null);
  },
  'network-interfaces': (rest, body) =>
    request('InsertNetworkDevice', withId(rest[0], bodies.networkInterface, body, 'iface_id')),
  vsock: (_rest, body) => {
    const config = json(bodies.vsock, body);
    return request('SetVsockDevice', config, config.vsock_id !== null);
  },
};

const PATCH: Routes = {
  drives: (rest, body) => request('UpdateBlockDevice', withId(rest[0], bodies.driveUpdate, body, 'drive_id')),
  'machine-config': (_rest, body) => {
    const update = json(bodies.machineConfigUpdate, body);
    if (Object.values(update).every((value) => value === null)) {
      throw new Fault('Empty PATCH request.');
    }
    return request('UpdateMachineConfiguration', update, update.cpu_template !== null);
  },
  'network-interfaces': (rest, body) =>
    request('UpdateNetworkInterface', withId(rest[0], bodies.networkInterfaceUpdate, body, 'iface_id')),
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
  if (wantsBody === (body === undefined)) {
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

function request<K extends ActionName>(name: K, parameters: ActionParameters[K], deprecated = false): ParsedRequest {
  return { action: { name, parameters } as VmmAction, deprecated };
}

function actionOf(type: 'FlushMetrics' | 'InstanceStart' | 'SendCtrlAltDel') {
  if (type === 'SendCtrlAltDel' && process.arch === 'arm64') {
    throw new Fault('SendCtrlAltDel does not supported on aarch64.');
  }
  return type === 'InstanceStart' ? 'StartMicroVm' : type;
}

function json<T>(decoder: Decoder<T>, body: Buffer): T {
  try {
    return decode(decoder, body);
  } catch (error) {
    if (error instanceof JsonError) {
      throw new Fault(`An error occurred when deserializing the json body of a request: ${error.message}.`);
    }
    throw error;
  }
}

function withId<K extends 'drive_id' | 'iface_id', T extends Record<K, string>>(
  pathId: string | undefined,
  decoder: Decoder<T>,
  body: Buffer,
  key: K,
): T {
  const id = checkedId(pathId);
  const value = json(decoder, body);
  if (value[key] !== id) {
    const detail = key === 'iface_id' ? [` [${id}]`, ` [${value[key]}]`] : ['', ''];
    throw new Fault(`The id from the path${detail[0]} does not match the id from the body${detail[1]}!`);
  }
  return value;
}

function checkedId(id: string | undefined): string {
  if (!id) {
    throw new Fault('The ID cannot be empty.');
  }
  if (!/^[_\p{Alphabetic}\p{N}]+$/u.test(id)) {
    throw new Fault('API Resource IDs can only contain alphanumeric characters and underscores.');
  }
  return id;
}

function getBalloon(rest: readonly string[]): ParsedRequest {
  const [part, next] = rest;
  if (part === undefined) {
    return request('GetBalloonConfig', undefined);
  }
  if (part === 'statistics') {
    return request('GetBalloonStats', undefined);
  }
  if (part === 'hinting' && next === 'status') {
    return request('GetFreePageHintingStatus', undefined);
  }
  throw new Fault(`Unrecognized GET request path \`${part === 'hinting' ? `/hinting/${next ?? ''}` : part}\`.`);
}
