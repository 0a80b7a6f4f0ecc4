import { createHash } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isValidVmId, quote } from '../config/ids.js';
import type { NetworkDefinition } from '../config/network.js';
import { errorsOf } from '../config/validation/checks.js';
import { SmartVMError } from '../errors.js';
import { writeFileAtomic } from '../util/atomic-file.js';
import { readBoundedText } from '../util/bounded-file.js';
import { ensurePrivateDirectory } from '../util/private-directory.js';
import { parseSafeJson } from '../util/safe-json.js';
import { assertDefinition, networkDefinition } from './definitions.js';
import { routeConflict } from './host-routes.js';
import { overlap, poolOf, randomUniqueLocalSubnet } from './subnet.js';

/** What a network is made of; the rest is filled in. */
export type NetworkOptions = Pick<NetworkDefinition, 'name'> &
  Partial<Omit<NetworkDefinition, 'name' | 'ipv6'>> & {
    /** Default: a /64 of unique local addresses of its own; null: no IPv6. */
    readonly ipv6?: string | null | undefined;
  };

const MAX_BYTES = 256 * 1024;

/** The definitions of networks that people have made: a file each, which survives a reboot. */
export class DefinitionStore {
  readonly #directory: string;
  readonly #builtIn: readonly NetworkDefinition[];

  constructor(directory: string, builtIn: readonly NetworkDefinition[]) {
    this.#directory = directory;
    this.#builtIn = builtIn;
  }

  /** Those that are built in first, then by name. One whose file is damaged is left out; {@link get} says what is wrong. */
  async list(): Promise<NetworkDefinition[]> {
    const files = await readdir(this.#directory).catch(() => []);
    const names = files.flatMap((file) => (file.endsWith('.json') ? [file.slice(0, -'.json'.length)] : [])).toSorted();
    const found = await Promise.all(names.map((name) => this.get(name).catch(() => undefined)));
    return [...this.#builtIn, ...found.filter((one) => one !== undefined)];
  }

  /** @throws SmartVMError NETWORK_UNKNOWN, INVALID_NETWORK */
  async get(name: string): Promise<NetworkDefinition> {
    const builtIn = this.#builtIn.find((one) => one.name === name);
    if (builtIn) {
      return builtIn;
    }
    const text = isValidVmId(name)
      ? await readBoundedText(this.#path(name), MAX_BYTES, false).catch(() => undefined)
      : undefined;
    if (text === undefined) {
      const names = (await readdir(this.#directory).catch(() => [])).map((file) => file.replace(/\.json$/, ''));
      const known = [...this.#builtIn.map((one) => one.name), ...names].join(', ');
      throw new SmartVMError('NETWORK_UNKNOWN', `there is no network ${quote(name)}; there are ${known}`, {
        details: { name },
      });
    }
    return this.#parse(name, text);
  }

  /**
   * Fills in what is not said, and keeps it.
   * @throws SmartVMError INVALID_NETWORK, NETWORK_EXISTS, SUBNET_OVERLAPS with what, FILE_WRITE_FAILED, DIRECTORY_UNSAFE
   */
  async create(options: NetworkOptions): Promise<NetworkDefinition> {
    const others = await this.list();
    const definition = { ...filledIn(options), ipv4: options.ipv4 ?? freeSubnet(others) };
    assertDefinition(definition);
    if (others.some(({ name }) => name === definition.name)) {
      throw new SmartVMError('NETWORK_EXISTS', `there is a network ${definition.name} already`, {
        details: { name: definition.name },
      });
    }
    assertNoOverlap(definition, others);
    await ensurePrivateDirectory(this.#directory);
    await writeFileAtomic(this.#path(definition.name), `${JSON.stringify(definition, undefined, 2)}\n`);
    return definition;
  }

  /** @throws SmartVMError NETWORK_UNKNOWN, INVALID_OPTION for one that is built in */
  async remove(name: string): Promise<void> {
    if (this.#builtIn.some((one) => one.name === name)) {
      throw new SmartVMError('INVALID_OPTION', `the network ${name} is built in, and cannot be removed`);
    }
    await this.get(name).catch((error: SmartVMError) => {
      if (error.code === 'NETWORK_UNKNOWN') {
        throw error;
      }
    });
    await rm(this.#path(name), { force: true });
  }

  #path(name: string): string {
    return join(this.#directory, `${name}.json`);
  }

  #parse(name: string, text: string): NetworkDefinition {
    let value: unknown;
    try {
      value = parseSafeJson(text);
    } catch (cause) {
      throw new SmartVMError('INVALID_NETWORK', `${this.#path(name)} is damaged; remove it`, { cause });
    }
    const errors = errorsOf(networkDefinition, value, 'network');
    if (errors.length > 0 || (value as NetworkDefinition).name !== name) {
      throw new SmartVMError('INVALID_NETWORK', `${this.#path(name)} breaks rules: ${errors.join('; ')}`, {
        details: { errors },
      });
    }
    return value as NetworkDefinition;
  }
}

function filledIn(options: NetworkOptions): Omit<NetworkDefinition, 'ipv4'> {
  const { ipv6 = randomUniqueLocalSubnet(), ...given } = options;
  const hash = createHash('sha256').update(String(options.name)).digest('hex');
  return {
    mode: 'nat',
    bridge: `svb${hash.slice(0, 10)}`,
    egress: 'internet',
    isolated: true,
    ...withoutUndefined(given),
    ...(ipv6 === null ? {} : { ipv6 }),
    name: options.name,
  };
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as T;
}

/** The first /24 of 172.30.0.0/15 that neither a network nor a route of the host has. */
function freeSubnet(others: readonly NetworkDefinition[]): string {
  for (let place = 1; place < 512; place++) {
    const cidr = `172.${30 + Math.floor(place / 256)}.${place % 256}.0/24`;
    if (conflictOf(cidr, '', others) === undefined) {
      return cidr;
    }
  }
  throw new SmartVMError('SUBNET_OVERLAPS', 'no /24 of 172.30.0.0/15 is free; name a subnet');
}

/** @throws SmartVMError SUBNET_OVERLAPS */
function assertNoOverlap(definition: NetworkDefinition, others: readonly NetworkDefinition[]): void {
  const { name, mode, bridge, ipv4, ipv6 } = definition;
  if (mode === 'user' || mode === 'none') {
    return; // it is no network of the host's
  }
  for (const cidr of [ipv4, ...(ipv6 === undefined ? [] : [ipv6])]) {
    const other = conflictOf(cidr, bridge, others);
    if (other !== undefined) {
      throw overlapError(cidr, name, other);
    }
  }
}

export function overlapError(cidr: string, name: string, other: string): SmartVMError {
  return new SmartVMError('SUBNET_OVERLAPS', `${cidr} of network ${name} overlaps with ${other}; name another subnet`, {
    details: { name, cidr, other },
  });
}

/** The network or the route, in words, that has some of these addresses. */
export function conflictOf(cidr: string, bridge: string, others: readonly NetworkDefinition[]): string | undefined {
  const { range } = poolOf(cidr);
  const ofHost = others.filter(({ mode }) => mode !== 'user' && mode !== 'none');
  const other = ofHost.find(({ ipv4, ipv6 }) =>
    [ipv4, ipv6].some((theirs) => theirs !== undefined && overlap(poolOf(theirs).range, range)),
  );
  return other ? `the network ${other.name}` : routeConflict(range, bridge);
}
