import { dirname, join } from 'node:path/posix';
import ts from 'typescript';

const EVERYTHING_INSIDE = ['util', 'errors', 'config', 'firecracker', 'vmm', 'vm', 'images', 'network', 'guest'];

/** What each part of ts/ may import besides itself. A part is a folder, or a file beside the folders. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  util: ['errors'],
  config: ['util', 'errors'],
  firecracker: ['util', 'errors', 'config'],
  // What a dead VM has left in networks, vmm undoes with the rest.
  vmm: ['util', 'errors', 'config', 'firecracker', 'network/remnants.ts'],
  // Of the guest, vm knows the interfaces alone, and what can be asked of any guest by them.
  vm: ['util', 'errors', 'config', 'firecracker', 'vmm', 'guest/types.ts', 'guest/calls.ts', 'guest/ready/ready.ts'],
  images: ['util', 'errors', 'config'],
  network: ['util', 'errors', 'config'],
  guest: ['util', 'errors', 'config'],
  qemu: ['util', 'errors', 'firecracker/generated.ts'],
  doctor: ['util', 'errors', 'config', 'vmm'],
  launch: EVERYTHING_INSIDE,
  attach: [...EVERYTHING_INSIDE, 'launch'],
  layers: [...EVERYTHING_INSIDE, 'launch'],
  options: EVERYTHING_INSIDE,
  smartvm: [...EVERYTHING_INSIDE, 'options', 'launch', 'attach', 'layers', 'doctor'],
  cli: [...EVERYTHING_INSIDE, 'launch', 'attach', 'layers', 'smartvm', 'doctor', 'qemu'],
  index: [...EVERYTHING_INSIDE, 'launch', 'attach', 'layers', 'smartvm', 'doctor'],
};

/** Every module that a source imports, types, re-exports and dynamic imports included. */
export function importsOf(source: string): string[] {
  return ts.preProcessFile(source, true, true).importedFiles.map(({ fileName }) => fileName);
}

/** How a file of ts/ (its path below ts/) breaks the import rules; empty when it keeps them. */
export function importViolations(file: string, source: string): string[] {
  return importsOf(source)
    .filter((specifier) => specifier.startsWith('.') || specifier.startsWith('/'))
    .map((specifier) => violation(file, specifier))
    .filter((problem) => problem !== undefined);
}

function violation(file: string, specifier: string): string | undefined {
  const says = (problem: string) => `ts/${file}: import '${specifier}' ${problem}`;
  if (!specifier.endsWith('.js')) {
    return says("does not end in '.js'");
  }
  const target = join(dirname(file), specifier).replace(/\.js$/, '.ts');
  if (target.startsWith('../') || target.startsWith('/')) {
    return says('leaves ts/');
  }
  const [from, to] = [partOf(file), partOf(target)];
  const allowed = MAY_IMPORT[from];
  if (allowed === undefined) {
    return says(`comes from '${from}', which has no import rule`);
  }
  if (from === to || allowed.includes(to) || allowed.includes(target)) {
    return undefined;
  }
  return says(`is against the import direction: ${from} may import ${allowed.join(', ') || 'nothing'}`);
}

function partOf(file: string): string {
  return (file.split('/')[0] ?? file).replace(/\.ts$/, '');
}
