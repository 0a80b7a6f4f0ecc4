import { join } from 'node:path';
import { SmartVMError } from '../errors.js';
import { type Holder, readHolder } from '../util/holder.js';
import { acquireLease, type Lease } from '../util/leases.js';
import { hostFolders } from './host-state.js';
import { digest, macOf, tapNameOf } from './names.js';
import { ownerOf } from './plumbing/alias.js';
import type { Pool } from './subnet.js';

/** What is taken for one interface of a VM, given back all together. */
export class NetworkLeases {
  readonly holder: Holder;
  readonly #options: LeaseSource;
  readonly #leases: Lease[] = [];

  constructor(holder: Holder, options: LeaseSource) {
    this.holder = holder;
    this.#options = options;
  }

  /**
   * A TAP name and a MAC that no other VM has: the same ones each time, unless another has them.
   * @throws SmartVMError ADDRESS_TAKEN for a MAC that was asked for, INTERFACE_TAKEN, CANCELED
   */
  async takeIdentity(ifaceId: string, wantedMac?: string): Promise<{ tapName: string; mac: string }> {
    const { id } = this.holder;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const tapName = tapNameOf(id, ifaceId, attempt);
      // What a dead VM has left is its lease's; a stranger's interface stays what it is.
      const tap = ownerOf(tapName) === 'stranger' ? undefined : await this.#take([`tap-${tapName}`]);
      if (!tap) {
        continue;
      }
      const mac = wantedMac?.toLowerCase() ?? macOf(id, ifaceId, attempt);
      if (await this.#take([`mac-${mac}`])) {
        return { tapName, mac };
      }
      if (wantedMac !== undefined) {
        throw await this.#taken(`mac-${mac}`, mac);
      }
    }
    throw new SmartVMError('INTERFACE_TAKEN', `every name for the interface ${ifaceId} of VM ${id} is taken`, {
      details: { id, ifaceId },
    });
  }

  /**
   * An address of a pool: the same each time, unless another has it.
   * @throws SmartVMError INVALID_OPTION, ADDRESS_TAKEN for one that was asked for; IP_EXHAUSTED, CANCELED
   */
  async takeAddress(pool: Pool, ifaceId: string, { wanted, not }: { wanted?: string | undefined; not: string }) {
    if (wanted !== undefined) {
      return await this.#takeWanted(pool, wanted, not);
    }
    const start = Number.parseInt(digest(this.holder.id, ifaceId).slice(0, 12), 16) % pool.size;
    const lease = await this.#take(placesOf(pool, start, not));
    if (!lease) {
      throw new SmartVMError(
        'IP_EXHAUSTED',
        `every address of ${pool.cidr} is a VM's; stop some, or use another network`,
        {
          details: { subnet: pool.cidr, taken: pool.size },
        },
      );
    }
    return lease.name.slice(IP.length);
  }

  async release(): Promise<void> {
    await Promise.all(this.#leases.map((lease) => lease.release()));
  }

  async #takeWanted(pool: Pool, wanted: string, not: string): Promise<string> {
    const address = pool.normalize(wanted);
    if (address === undefined || address === not) {
      throw new SmartVMError('INVALID_OPTION', `${wanted} is not an address that a VM of ${pool.cidr} can have`);
    }
    if (!(await this.#take([IP + address]))) {
      throw await this.#taken(IP + address, address);
    }
    return address;
  }

  async #take(candidates: Iterable<string>): Promise<Lease | undefined> {
    const directory = hostFolders().leases;
    const lease = await acquireLease({ directory, candidates, holder: this.holder, ...this.#options });
    if (lease) {
      this.#leases.push(lease);
    }
    return lease;
  }

  async #taken(name: string, what: string): Promise<SmartVMError> {
    const holder = await readHolder(join(hostFolders().leases, name));
    const id = holder && holder !== 'unknown' ? holder.id : undefined;
    const whose = id === undefined ? 'another' : `VM ${id}`;
    return new SmartVMError('ADDRESS_TAKEN', `${what} is ${whose}'s: stop that one, or take another address`, {
      details: { address: what, ...(id === undefined ? {} : { id }) },
    });
  }
}

/** Who lives, and what becomes of what the dead have. */
export interface LeaseSource {
  readonly isHeld: (holder: Holder) => Promise<boolean>;
  readonly reclaimable: (names: readonly string[]) => Promise<readonly string[]>;
  readonly signal?: AbortSignal | undefined;
}

const IP = 'ip-';
const MAX_ATTEMPTS = 16;
/** Beyond, a pool counts as taken: each that is tried is a system call. */
const MAX_TRIES = 1 << 16;

function* placesOf(pool: Pool, start: number, not: string): Iterable<string> {
  for (let index = 0; index < Math.min(pool.size, MAX_TRIES); index++) {
    const address = pool.at((start + index) % pool.size);
    if (address !== not) {
      yield IP + address;
    }
  }
}
