import type { NetworkMode } from '../../config/network.js';
import { SmartVM } from '../../smartvm.js';
import { printLines } from '../vms/output.js';
import { egressOf } from './egress.js';

export interface CreateNetworkOptions {
  mode: NetworkMode;
  subnet?: string;
  /** False with `--no-ipv6`. */
  ipv6?: string | false;
  gateway?: string;
  bridge?: string;
  mtu?: number;
  dns?: readonly string[];
  egress?: readonly string[];
  /** False with `--no-isolation`. */
  isolation: boolean;
  via?: string;
}

/** Defines a network, prints its name and gives the exit code. */
export async function createNetwork(name: string, options: CreateNetworkOptions): Promise<number> {
  const { mode, subnet, ipv6, gateway, bridge, mtu, dns, isolation, via } = options;
  const egress = egressOf(options.egress);
  const { networks } = new SmartVM();
  const definition = await networks.create({
    ...{ name, mode, gateway, mtu, dns, via, isolated: isolation },
    ipv6: ipv6 === false ? null : ipv6,
    ...(subnet === undefined ? {} : { ipv4: subnet }),
    ...(bridge === undefined ? {} : { bridge }),
    ...(egress === undefined ? {} : { egress }),
  });
  return await printLines([definition.name]);
}
