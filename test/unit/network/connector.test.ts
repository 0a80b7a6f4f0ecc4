import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { connectorFor } from '../../../ts/network/connector.js';
import { Networks } from '../../../ts/network/networks.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

describe('a place in the network that needs no root', () => {
  let scratch: ScratchDirectory;
  let networks: Networks;
  const vm = { id: 'one', runtimeDir: '/nonexistent/one' };
  const { signal } = new AbortController();

  beforeEach(async () => {
    scratch = await scratchDirectory();
    vi.stubEnv('SMARTVM_RUNTIME_DIR', scratch.file('run'));
    const dataDir = scratch.file('data');
    networks = new Networks({ dataDir, bridge: 'svbr0', ipv4: '172.30.0.0/24', isHeld: async () => true });
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await scratch[Symbol.asyncDispose]();
  });

  const connect = (request: object, hasUserNetworking = true) =>
    connectorFor(networks, vm, [{ network: 'user', ...request }], { hasUserNetworking })?.(signal);

  test('is warned of once, where it is not closed: the guest reaches the loopback of the host', async () => {
    const warnings: string[] = [];
    const hear = ({ code }: Error & { code?: string }) => warnings.push(code ?? '');
    process.on('warning', hear);
    await connect({ egress: 'none' });
    const warned = once(process, 'warning');
    await connect({});
    await warned;
    await connect({});
    await new Promise(setImmediate);
    process.off('warning', hear);
    expect(warnings).toEqual(['SMARTVM_USER_NETWORK']);
  });

  test('is refused by a VMM that cannot speak for its guest, and so are rules', async () => {
    await expect(connect({}, false)).rejects.toMatchObject({ code: 'NETWORK_UNSUPPORTED' });
    await expect(connect({ egress: [{ action: 'allow' }] })).rejects.toMatchObject({ code: 'NETWORK_UNSUPPORTED' });
  });

  test('takes no ports where there is no network', () => {
    const ports = [{ hostPort: 80, guestPort: 80, protocol: 'tcp' as const }];
    expect(() => connectorFor(networks, vm, [], { ports, hasUserNetworking: true })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION' }),
    );
  });
});
