import { formatPublish, type PublishedPort } from '../config/publish.js';
import { SmartVMError } from '../errors.js';
import { ApiError } from '../firecracker/api-error.js';
import type { SocketClient } from '../firecracker/socket-client.js';

/** What a keeper is to listen on, and where it leads what it gets there. */
export interface Publication {
  /** An address of the VM by which the host reaches it. */
  readonly guest: string;
  readonly ports: readonly PublishedPort[];
}

/** What the keeper says of the port that it could not have. */
const FAULT = /^ports\[(\d+)\]: (.*)$/s;

/**
 * Has a keeper bind ports in place of those that it had: all, or none. One that it had already keeps its connections.
 * @returns the ports as they are: where any was asked for, that which it is
 * @throws SmartVMError PORT_TAKEN with the port; INVALID_OPTION for an address that is not the host's; NETWORK_FAILED
 */
export async function putPorts(client: SocketClient, { guest, ports }: Publication): Promise<PublishedPort[]> {
  try {
    return ((await client.request('PUT', '/ports', { guest, ports })) as { ports: PublishedPort[] | null }).ports ?? [];
  } catch (error) {
    throw error instanceof ApiError ? (refusalOf(error, ports) ?? error) : error;
  }
}

function refusalOf(error: ApiError, ports: readonly PublishedPort[]): SmartVMError | undefined {
  const [, index = '', why = ''] = FAULT.exec(error.faultMessage ?? '') ?? [];
  const port = index === '' ? undefined : ports[Number(index)];
  if (!port) {
    return undefined;
  }
  const name = `port ${formatPublish(port)}`;
  const options = { cause: error, details: { ...port } };
  if (/address already in use/.test(why)) {
    const what = `${name} cannot be published: another program of the host, or another VM, has it`;
    return new SmartVMError('PORT_TAKEN', `${what}; take another, or 0 for any that is free`, options);
  }
  if (/cannot assign requested address/.test(why)) {
    return new SmartVMError(
      'INVALID_OPTION',
      `${name} cannot be published: ${port.hostIp} is not an address of this host`,
      options,
    );
  }
  return new SmartVMError('NETWORK_FAILED', `${name} cannot be published: ${why}`, options);
}
