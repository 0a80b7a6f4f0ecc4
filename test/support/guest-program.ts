import { copyFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { run } from '../../ts/util/run.js';
import type { MicroVM } from '../../ts/vm/micro-vm.js';
import { scratchDirectory } from './scratch.js';

/** Gives a guest a program of this host that its image lacks, with the libraries that it needs, as `/usr/local/bin/NAME`. */
export async function lendProgram(vm: MicroVM, path: string, name: string = basename(path)): Promise<void> {
  await using scratch = await scratchDirectory();
  const needs = `${await run('ldd', [path])}`;
  const libraries = [...needs.matchAll(/(\/\S+) \(0x/g)].map(([, library = '']) => library);
  await Promise.all([path, ...libraries].map((file) => copyFile(file, scratch.file(basename(file)))));
  const folder = `/opt/${name}`;
  await vm.files.upload(scratch.path, folder);
  const loader = libraries.map((library) => basename(library)).find((library) => library.startsWith('ld-linux'));
  const command = `${folder}/${loader} --library-path ${folder} ${folder}/${basename(path)}`;
  await vm.files.write(`/usr/local/bin/${name}`, `#!/bin/sh\nexec ${command} "$@"\n`, { mode: 0o755 });
}
