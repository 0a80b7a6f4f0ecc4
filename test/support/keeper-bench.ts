import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { programPath } from '../../ts/config/programs.js';
import { type ProcessIdentity, processIdentity } from '../../ts/util/process-identity.js';
import { VmmProcess, type VmmProcessOptions } from '../../ts/vmm/vmm-process.js';
import { processesNaming } from './leftovers.js';
import { type ScratchDirectory, scratchDirectory } from './scratch.js';

export function requireKeeper(): void {
  const keeper = programPath('keeper');
  if (!existsSync(keeper)) {
    throw new Error(`${keeper} is not there: run 'npm run build' first`);
  }
}

/** A directory for one VM, and the programs that stand where no VMM is needed. */
export interface KeeperBench extends AsyncDisposable {
  readonly scratch: ScratchDirectory;
  /** Starts an executable file with this content under a keeper. */
  start(content: string | Uint8Array, options?: Partial<VmmProcessOptions>): Promise<VmmProcess>;
}

export async function openKeeperBench(): Promise<KeeperBench> {
  const scratch = await scratchDirectory();
  const runtimeDir = scratch.file('vm');
  await mkdir(runtimeDir, { mode: 0o700 });
  const started: VmmProcess[] = [];
  return {
    scratch,
    async start(content, options = {}) {
      const executable = scratch.file('vmm');
      await writeFile(executable, content, { mode: 0o755 });
      const socketPath = join(runtimeDir, 'api.sock');
      const vmm = await VmmProcess.start({ id: 'vm-1', executable, socketPath, runtimeDir, ...options });
      started.push(vmm);
      await vmm.reachKeeper();
      return vmm;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(started.map((vmm) => vmm.dispose()));
      const left = await processesNaming(scratch.path);
      await scratch[Symbol.asyncDispose]();
      expect(left).toEqual([]);
    },
  };
}

/** A shell script. */
export const script = (...lines: string[]) => `#!/bin/sh\n${lines.join('\n')}\n`;
export const SLEEP = 'exec sleep 1000';
/** A server on the socket that the command line names. */
export const server = (onConnection: string) => `#!/usr/bin/env node
const path = process.argv[process.argv.indexOf('--api-sock') + 1];
require('node:net').createServer((socket) => { socket.on('error', () => {}); ${onConnection} }).listen(path);
`;

export const identityOf = async (pid: number): Promise<ProcessIdentity> => {
  const identity = await processIdentity(pid);
  if (!identity) {
    throw new Error(`process ${pid} is not alive`);
  }
  return identity;
};
