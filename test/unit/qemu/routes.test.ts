import { describe, expect, it } from 'vitest';
import { type Method, parseRequest } from '../../../ts/qemu/api/routes.js';
import { runtimeHandlers } from '../../../ts/qemu/controller/runtime.js';
import { Vmm } from '../../../ts/qemu/controller/vmm.js';
import type { Machine } from '../../../ts/qemu/machine/machine.js';

const parse = (method: Method, path: string, body?: unknown) =>
  parseRequest(method, path, body === undefined ? undefined : Buffer.from(JSON.stringify(body)));

describe('parseRequest', () => {
  it.each([
    ['GET', '/', undefined, 'GetVmInstanceInfo'],
    ['GET', '', undefined, 'GetVmInstanceInfo'],
    ['GET', '//version/', undefined, 'GetVmmVersion'],
    ['GET', '/vm/config', undefined, 'GetFullVmConfig'],
    ['GET', '/balloon/hinting/status', undefined, 'GetFreePageHintingStatus'],
    ['PUT', '/actions', { action_type: 'InstanceStart' }, 'StartMicroVm'],
    ['PATCH', '/vm', { state: 'Resumed' }, 'Resume'],
    ['DELETE', '/drives/x', undefined, 'HotUnplugDevice'],
    ['PUT', '/drives/ä_1', { drive_id: 'ä_1', is_root_device: false }, 'InsertBlockDevice'],
  ] as const)('%s %s %j is %s', (method, path, body, name) => {
    expect(parse(method, path, body).action.name).toBe(name);
  });

  it.each([
    ['GET', '/nope', undefined, 'Invalid request method and/or path: GET nope.'],
    ['GET', '/__proto__', undefined, 'Invalid request method and/or path: GET __proto__.'],
    ['GET', '/version?x', undefined, 'Invalid request method and/or path: GET version?x.'],
    ['GET', '/nope', {}, 'GET request cannot have a body.'],
    ['PUT', '/nope', undefined, 'Empty PUT request.'],
    ['PUT', '/', {}, 'Invalid request method and/or path: PUT .'],
    ['PATCH', '/machine-config', {}, 'Empty PATCH request.'],
    ['DELETE', '/drives/x', {}, 'Empty Delete request.'],
    ['DELETE', '/drives', undefined, 'The ID cannot be empty.'],
    ['PUT', '/drives/bad-id', {}, 'API Resource IDs can only contain alphanumeric characters and underscores.'],
    [
      'PUT',
      '/network-interfaces/a',
      { iface_id: 'b', host_dev_name: 't' },
      'The id from the path [a] does not match the id from the body [b]!',
    ],
  ] as const)('%s %s %j is refused: %s', (method, path, body, message) => {
    expect(() => parse(method, path, body)).toThrow(expect.objectContaining({ name: 'Fault', status: 400, message }));
  });

  it('marks the use of a deprecated field', () => {
    const vsock = { guest_cid: 3, uds_path: 'v' };
    expect(parse('PUT', '/vsock', vsock).deprecated).toBe(false);
    expect(parse('PUT', '/vsock', { ...vsock, vsock_id: 'old' }).deprecated).toBe(true);
  });
});

describe('the controllers', () => {
  it.each([
    ['PATCH', '/vm', { state: 'Paused' }],
    ['PATCH', '/drives/a', { drive_id: 'a' }],
    ['PUT', '/actions', { action_type: 'FlushMetrics' }],
    ['GET', '/balloon/statistics', undefined],
  ] as const)('%s %s is not legal before the start', async (method, path, body) => {
    await expect(new Vmm('a').handle(parse(method, path, body).action)).rejects.toThrow(
      'The requested operation is not supported before starting the microVM.',
    );
  });

  it.each([
    ['PUT', '/machine-config', { vcpu_count: 1, mem_size_mib: 1 }],
    ['PATCH', '/machine-config', { mem_size_mib: 1 }],
    ['PUT', '/boot-source', { kernel_image_path: 'k' }],
    ['PUT', '/vsock', { guest_cid: 3, uds_path: 'v' }],
    ['PUT', '/actions', { action_type: 'InstanceStart' }],
  ] as const)('%s %s is not legal after the start', (method, path, body) => {
    const { action } = parse(method, path, body);
    expect(runtimeHandlers(new Vmm('a'), {} as Machine, { path: '/dev/null', offset: 0 })).not.toHaveProperty(
      action.name,
    );
  });
});
