import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { launchInNetwork } from '../../../../ts/cli/run/network.js';
import { SmartVMError } from '../../../../ts/errors.js';
import type { LaunchOptions } from '../../../../ts/launch.js';
import type { MicroVM } from '../../../../ts/vm/micro-vm.js';

const VM = { network: { interfaces: async () => [] } } as unknown as MicroVM;

describe('the network of a VM that says nothing of networks', () => {
  let launched: LaunchOptions[];
  let said: string;

  beforeEach(() => {
    [launched, said] = [[], ''];
    vi.spyOn(console, 'error').mockImplementation((text) => {
      said += text;
    });
    vi.stubEnv('SMARTVM_NETWORK', undefined);
  });

  afterEach(() => {
    vi.restoreAllMocks();
    vi.unstubAllEnvs();
  });

  /** A host on which a VM in a network does not start, for this reason. */
  const host = (failure?: SmartVMError) => ({
    launch: async (options: LaunchOptions) => {
      launched.push(options);
      if (failure && options.network !== 'none') {
        throw failure;
      }
      return VM;
    },
  });

  it('is the default one, or that of the environment', async () => {
    await launchInNetwork(host(), { id: 'a' });
    vi.stubEnv('SMARTVM_NETWORK', 'office');
    await launchInNetwork(host(), { id: 'b' });
    expect(launched).toEqual([
      { id: 'a', network: 'default' },
      { id: 'b', network: 'office' },
    ]);
    expect(said).toBe('');
  });

  it.each([
    new SmartVMError('NET_ADMIN_MISSING', 'no right'),
    new SmartVMError('TOOL_MISSING', 'nft is not installed', { details: { tool: 'nft' } }),
    new SmartVMError('NETWORKS_ELSEWHERE', 'they are kept in another directory'),
    new SmartVMError('SUBNET_OVERLAPS', 'a route is in the way'),
  ])('is none on a host that has none for it, and a line says why: $code', async (failure) => {
    expect(await launchInNetwork(host(failure), { id: 'a' })).toBe(VM);
    expect(launched.map(({ network }) => network)).toEqual(['default', 'none']);
    expect(said).toContain(`no network: ${failure.message}`);
  });

  it.each([
    [{ id: 'a' }, new SmartVMError('BOOT_TIMEOUT', 'too slow')],
    [{ id: 'a' }, new SmartVMError('TOOL_MISSING', 'no mke2fs', { details: { tool: 'mke2fs' } })],
    [{ publish: ['80:80'] }, new SmartVMError('NET_ADMIN_MISSING', 'no right')],
    [{ network: 'default' }, new SmartVMError('NET_ADMIN_MISSING', 'no right')],
  ])('is not given up for another failure, nor where one was asked for: %j %s', async (options, failure) => {
    await expect(launchInNetwork(host(failure), options)).rejects.toBe(failure);
    expect(launched).toEqual([{ ...options, ...('id' in options ? { network: 'default' } : {}) }]);
  });
});
