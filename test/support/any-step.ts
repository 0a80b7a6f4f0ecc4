import fc from 'fast-check';
import type { Step } from './raw-vmm.js';

/** Requests of the API, most of them right in themselves, for properties over their order. */

const bucket = fc.record(
  {
    size: fc.constantFrom(0, 1000, 65_536),
    refill_time: fc.constantFrom(0, 100),
    one_time_burst: fc.constantFrom(0, 500),
  },
  { requiredKeys: ['size', 'refill_time'] },
);
const limiter = fc.record({ bandwidth: bucket, ops: bucket }, { requiredKeys: [] });
const flag = fc.boolean();

function step(method: string, path: string, body: fc.Arbitrary<unknown> = fc.constant(null)): fc.Arbitrary<Step> {
  return body.map((value) => ({ method, path, body: value }));
}

/** A body with some of its optional fields. */
function record(required: Record<string, fc.Arbitrary<unknown>>, optional: Record<string, fc.Arbitrary<unknown>> = {}) {
  return fc.record({ ...required, ...optional }, { requiredKeys: Object.keys(required) });
}

function withId(method: string, folder: string, key: string, fields: ReturnType<typeof record>): fc.Arbitrary<Step> {
  const ids = fc.constantFrom('a', 'b');
  return fc
    .tuple(ids, fc.oneof({ weight: 9, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: ids }), fields)
    .map(([id, bodyId, body]) => ({ method, path: `/${folder}/${id}`, body: { [key]: bodyId ?? id, ...body } }));
}

/** Not a directory: Firecracker starts with one as a read-only disk, which QEMU does not. */
const files = fc.constantFrom('{dir}/disk.ext4', '{dir}/big.ext4', '{dir}/nope');

const boot = [
  step(
    'PUT',
    '/boot-source',
    record({ kernel_image_path: fc.constantFrom('{dir}/toy', '{dir}/toy', '{dir}/nope', '{dir}/not-a-kernel') }),
  ),
  step(
    'PUT',
    '/machine-config',
    record(
      { vcpu_count: fc.constantFrom(1, 2, 0, 33), mem_size_mib: fc.constantFrom(128, 64, 3, 0) },
      { smt: flag, track_dirty_pages: flag, cpu_template: fc.constantFrom('None', 'T2', 'T2A') },
    ),
  ),
  step('PATCH', '/machine-config', record({}, { mem_size_mib: fc.constantFrom(128, 64, 0), smt: flag })),
  withId(
    'PUT',
    'drives',
    'drive_id',
    record(
      { is_root_device: flag },
      {
        path_on_host: files,
        is_read_only: flag,
        rate_limiter: limiter,
        cache_type: fc.constantFrom('Unsafe', 'Writeback'),
      },
    ),
  ),
  withId(
    'PUT',
    'pmem',
    'id',
    record({ path_on_host: files }, { root_device: flag, read_only: flag, rate_limiter: limiter }),
  ),
  withId(
    'PUT',
    'network-interfaces',
    'iface_id',
    record(
      { host_dev_name: fc.constantFrom('{tap}', '{tap2}', '{tap}') },
      {
        mtu: fc.constantFrom(67, 1500),
        rx_rate_limiter: limiter,
        guest_mac: fc.constantFrom('06:00:00:00:00:01', 'x'),
      },
    ),
  ),
  step(
    'PUT',
    '/vsock',
    record({ guest_cid: fc.constantFrom(3, 4), uds_path: fc.constantFrom('{dir}/v', '{dir}/nope/v') }),
  ),
  step(
    'PUT',
    '/balloon',
    record(
      { amount_mib: fc.constantFrom(0, 4, 100, 1000), deflate_on_oom: flag },
      { stats_polling_interval_s: fc.constantFrom(0, 1), free_page_hinting: flag, free_page_reporting: flag },
    ),
  ),
  step('PUT', '/entropy', record({}, { rate_limiter: limiter })),
  step('PUT', '/serial', record({}, { serial_out_path: fc.constantFrom('{dir}/serial', '{dir}/nope/serial') })),
  step('PUT', '/cpu-config', fc.constantFrom({}, { cpuid_modifiers: [] }, { nope: 1 })),
  step(
    'PUT',
    '/hotplug/memory',
    record(
      { total_size_mib: fc.constantFrom(1024, 128, 100) },
      { block_size_mib: fc.constantFrom(2, 4, 3), slot_size_mib: fc.constantFrom(128, 64) },
    ),
  ),
  step(
    'PUT',
    '/mmds/config',
    record(
      { network_interfaces: fc.subarray(['a', 'b']) },
      {
        version: fc.constantFrom('V1', 'V2'),
        ipv4_address: fc.constantFrom('169.254.1.1', '1.1.1.1', '169.254.0.1'),
        imds_compat: flag,
      },
    ),
  ),
  step(
    'PUT',
    '/logger',
    record(
      {},
      {
        log_path: fc.constantFrom('{dir}/log', '{dir}/nope/log'),
        level: fc.constantFrom('Info', 'warn', 'x'),
        show_level: flag,
      },
    ),
  ),
  step(
    'PUT',
    '/metrics',
    record({ metrics_path: fc.constantFrom('{dir}/metrics', '{dir}/nope/metrics') }, { emit_id: flag }),
  ),
];

const json = fc.oneof(
  fc.constantFrom(null, 1, 'x', [1], {}),
  fc.dictionary(fc.constantFrom('a', 'b', '1'), fc.jsonValue({ maxDepth: 2 })),
);

const always = [
  ...[
    '/',
    '/version',
    '/machine-config',
    '/vm/config',
    '/mmds',
    '/balloon',
    '/balloon/statistics',
    '/balloon/hinting/status',
    '/hotplug/memory',
    '/nope',
  ].map((path) => step('GET', path)),
  step('PUT', '/mmds', json),
  step('PATCH', '/mmds', json),
  step('PUT', '/actions', fc.constantFrom({ action_type: 'FlushMetrics' }, { action_type: 'SendCtrlAltDel' }, {})),
];

const start = step('PUT', '/actions', fc.constant({ action_type: 'InstanceStart' }));

const runtime = [
  step('PATCH', '/vm', record({ state: fc.constantFrom('Paused', 'Resumed') })),
  step('PATCH', '/balloon', record({ amount_mib: fc.constantFrom(1, 1000) })),
  step('PATCH', '/balloon/statistics', record({ stats_polling_interval_s: fc.constantFrom(0, 1, 2) })),
  step('PATCH', '/balloon/hinting/start'),
  step('PATCH', '/balloon/hinting/stop'),
  step('PATCH', '/hotplug/memory', record({ requested_size_mib: fc.constantFrom(128, 3) })),
  withId('PATCH', 'drives', 'drive_id', record({}, { path_on_host: files, rate_limiter: limiter })),
  withId('PATCH', 'network-interfaces', 'iface_id', record({}, { rx_rate_limiter: limiter, tx_rate_limiter: limiter })),
  withId('PATCH', 'pmem', 'id', record({}, { rate_limiter: limiter })),
  step('DELETE', '/drives/a'),
  step('DELETE', '/pmem/a'),
  step('DELETE', '/network-interfaces/b'),
  step(
    'PUT',
    '/snapshot/create',
    record(
      {
        snapshot_path: fc.constantFrom('{dir}/s', '{dir}/nope/s', '{dir}'),
        mem_file_path: fc.constantFrom('{dir}/m', '{dir}/nope/m', '{dir}'),
      },
      { snapshot_type: fc.constantFrom('Full', 'Diff') },
    ),
  ),
  step(
    'PUT',
    '/snapshot/load',
    record({
      snapshot_path: fc.constantFrom('{dir}/disk.ext4', '{dir}/nope', '{dir}'),
      mem_backend: fc.constant({ backend_type: 'File', backend_path: '{dir}/big.ext4' }),
    }),
  ),
];

const anything: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.oneof(...boot) },
  { weight: 3, arbitrary: fc.oneof(...always) },
  { weight: 1, arbitrary: start },
  { weight: 5, arbitrary: fc.oneof(...runtime) },
);

const kernel: Step = { method: 'PUT', path: '/boot-source', body: { kernel_image_path: '{dir}/toy' } };
const bootSteps: readonly Step[] = [
  kernel,
  { method: 'PUT', path: '/actions', body: { action_type: 'InstanceStart' } },
];

/** Requests in any order, in half of the cases around the start of a VM. */
export const anySteps: fc.Arbitrary<Step[]> = fc.oneof(
  fc.array(anything, { minLength: 1, maxLength: 25 }),
  fc
    .tuple(fc.array(fc.oneof(...boot), { maxLength: 6 }), fc.array(fc.oneof(...always, ...runtime), { maxLength: 20 }))
    .map(([before, after]) => [...before, ...bootSteps, ...after]),
);
