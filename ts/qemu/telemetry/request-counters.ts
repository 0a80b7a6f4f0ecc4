import type { Method } from '../api/routes.js';
import type { Metrics } from './metrics.js';

/** Firecracker's counters of requests by method and first part of the path; the others it does not count. */
const COUNTERS: Readonly<Record<Method, Readonly<Record<string, string>>>> = {
  GET: {
    '': 'instance_info',
    hotplug: 'hotplug_memory',
    'machine-config': 'machine_cfg',
    mmds: 'mmds',
    version: 'vmm_version',
  },
  PUT: {
    actions: 'actions',
    'boot-source': 'boot_source',
    'cpu-config': 'cpu_cfg',
    drives: 'drive',
    hotplug: 'hotplug_memory',
    logger: 'logger',
    'machine-config': 'machine_cfg',
    metrics: 'metrics',
    mmds: 'mmds',
    'network-interfaces': 'network',
    pmem: 'pmem',
    serial: 'serial',
    vsock: 'vsock',
  },
  PATCH: {
    drives: 'drive',
    hotplug: 'hotplug_memory',
    'machine-config': 'machine_cfg',
    mmds: 'mmds',
    'network-interfaces': 'network',
    pmem: 'pmem',
  },
  DELETE: {},
};

const GROUPS = { GET: 'get_api_requests', PUT: 'put_api_requests', PATCH: 'patch_api_requests' } as const;

export function countRequest(metrics: Metrics, method: Method, path: string): void {
  count(metrics, method, path, 'count');
}

/** A request that did not parse. GETs have no such counter. */
export function countFailure(metrics: Metrics, method: Method, path: string): void {
  if (method !== 'GET') {
    count(metrics, method, path, 'fails');
  }
}

function count(metrics: Metrics, method: Method, path: string, what: 'count' | 'fails'): void {
  const first = path.replace(/^\/+/, '').split('/')[0] ?? '';
  const name = Object.hasOwn(COUNTERS[method], first) ? COUNTERS[method][first] : undefined;
  if (method !== 'DELETE' && name !== undefined) {
    metrics.count(GROUPS[method], `${name}_${what}`);
  }
}
