import type { NetworkRequest } from '../config/network.js';
import type { PublishedPort } from '../config/publish.js';
import { SmartVMError } from '../errors.js';
import type { Holder } from '../util/holder.js';
import type { NetworkConnection } from './connection.js';
import type { Networks } from './networks.js';

export interface ConnectorOptions {
  readonly ports?: readonly PublishedPort[] | undefined;
  /** Whether the VMM can speak for its guest by itself. */
  readonly hasUserNetworking: boolean;
}

/** What takes a VM's place in networks when it starts; undefined for one that asks for none. */
export function connectorFor(
  networks: Networks,
  vm: Pick<Holder, 'id' | 'runtimeDir'>,
  requests: readonly NetworkRequest[] | undefined,
  { ports, hasUserNetworking }: ConnectorOptions,
): ((signal: AbortSignal) => Promise<NetworkConnection>) | undefined {
  if (requests === undefined || requests.length === 0) {
    if (ports !== undefined && ports.length > 0) {
      throw new SmartVMError('INVALID_OPTION', 'publish is for a VM that is in a network: name one in `networks`');
    }
    return undefined;
  }
  return async (signal) => {
    const connection = await networks.connect(vm, requests, { ports, signal });
    const user = connection.records.find(({ definition }) => definition.mode === 'user');
    if (user && !hasUserNetworking) {
      await connection.release();
      throw new SmartVMError(
        'NETWORK_UNSUPPORTED',
        `the network ${user.definition.name} is of mode 'user', which is smartvm-qemu's alone: use one of mode 'nat', as root, or that VMM`,
        { details: { network: user.definition.name, mode: 'user' } },
      );
    }
    if (user && user.egress !== 'none') {
      warnOnce(user.definition.name);
    }
    return connection;
  };
}

let warned = false;

/** QEMU has no way to close it but to close all. */
function warnOnce(name: string): void {
  if (!warned) {
    warned = true;
    process.emitWarning(
      `guests of the network ${name} reach all that this user reaches, and by their gateway this host's loopback: rules hold in networks of mode 'nat', which take root; egress 'none' closes it`,
      { code: 'SMARTVM_USER_NETWORK' },
    );
  }
}
