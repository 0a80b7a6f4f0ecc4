import { assertInterfaceName, quote } from '../../config/ids.js';
import { SmartVMError } from '../../errors.js';

/**
 * One command in nft's own language. Not its JSON: `nft -j -f -` opens /dev/stdin by that name, which fails where standard input is a
 * socket, as it is for every child of Node.
 */
export type NftCommand = string;

export type NftFamily = 'inet' | 'bridge';

/** The name of our tables, in both families. Every other table is somebody else's, and never touched. */
export const TABLE = 'smartvm';

/** What `nft -f -` reads: one transaction, of which all takes place or nothing. */
export function nftInput(commands: readonly NftCommand[]): string {
  return `${commands.join('\n')}\n`;
}

/**
 * An interface's name as nft reads it.
 * @throws SmartVMError INVALID_INTERFACE_NAME for one that nft has no notation for
 */
export function interfaceName(name: string): string {
  assertInterfaceName(name);
  if (/["*\\]/.test(name)) {
    throw new SmartVMError(
      'INVALID_INTERFACE_NAME',
      `interface name ${quote(name)} has a character that nft gives a meaning to: '"', '*' or a backslash`,
    );
  }
  return `"${name}"`;
}

/** An element of a set: of one value, or of several that together are the key. */
export function key(...parts: readonly (string | number)[]): string {
  return parts.join(' . ');
}

export function addElements(family: NftFamily, name: string, elements: readonly string[]): NftCommand[] {
  return elements.length === 0 ? [] : [`add element ${family} ${TABLE} ${name} { ${elements.join(', ')} }`];
}

/** Deletes elements of a set, whether they are there or not: `delete` alone fails for one that is not. */
export function dropElements(family: NftFamily, name: string, elements: readonly string[]): NftCommand[] {
  const target = `element ${family} ${TABLE} ${name} { ${elements.join(', ')} }`;
  return elements.length === 0 ? [] : [`add ${target}`, `delete ${target}`];
}
