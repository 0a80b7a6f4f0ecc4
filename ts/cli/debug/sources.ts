import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { diagnose } from '../../doctor/diagnose.js';
import { SocketClient } from '../../firecracker/socket-client.js';
import { vmmFolder } from '../../vmm/vm-folder.js';
import { hostFacts, versions } from './host-facts.js';
import { cgroupsOf, processesOf } from './processes.js';
import type { Subject } from './subject.js';
import { jsonFile, keptLog, listing, loggerFile } from './vm-files.js';

/** One file of the archive. */
export interface Source {
  readonly name: string;
  /** What it is, for the table in docs/diagnostics.md. */
  readonly about: string;
  /** A value, which becomes JSON; a text as it is; undefined where there is no such thing. All are redacted. */
  readonly collect: (subject: Subject, signal: AbortSignal) => Promise<unknown>;
}

/** All of which may fail, each for itself. */
export const SOURCES: readonly Source[] = [
  { name: 'vm.json', about: "the VM's record, with its journal and configuration", collect: file('vm.json') },
  { name: 'state.json', about: 'its state, as its keeper keeps it', collect: file('state.json') },
  { name: 'timings.json', about: 'when the steps of its start ran', collect: file('timings.json') },
  { name: 'exit.json', about: 'how its VMM ended', collect: file('exit.json') },
  { name: 'jail.json', about: 'what its jail is made of', collect: file('jail.json') },
  { name: 'files.txt', about: 'what is in its directory: kind, mode, owner, size, time', collect: listing },
  { name: 'console.log', about: 'what is kept of its serial console', collect: log('console.log') },
  { name: 'vmm.log', about: 'what its VMM wrote to its standard error', collect: log('vmm.log') },
  { name: 'logger.log', about: "the end of the VMM's log, where the configuration names a file", collect: loggerFile },
  { name: 'keeper.json', about: 'what its keeper answers', collect: keeperState },
  { name: 'events.jsonl', about: 'the events that its keeper has kept', collect: keeperEvents },
  { name: 'api/instance.json', about: 'what the VMM answers to `GET /`', collect: api('/') },
  { name: 'api/version.json', about: 'to `GET /version`', collect: api('/version') },
  { name: 'api/config.json', about: 'to `GET /vm/config`', collect: api('/vm/config') },
  { name: 'processes.json', about: 'how owner, keeper, VMM and its children are (proc(5))', collect: processesOf },
  { name: 'cgroups.json', about: 'what its cgroups count', collect: cgroupsOf },
  { name: 'doctor.json', about: 'what `smartvm doctor` finds, of other VMs nothing', collect: findings },
  { name: 'versions.json', about: 'SmartVM, Node.js, kernel, VMM and QEMU', collect: versions },
  { name: 'host.json', about: 'the host: system, CPUs, memory, pressure, free space', collect: hostFacts },
];

function file(name: string): Source['collect'] {
  return (subject) => jsonFile(subject, name);
}

function log(name: string): Source['collect'] {
  return (subject) => keptLog(subject, name);
}

async function keeperState({ keeper }: Subject): Promise<unknown> {
  if (keeper === 'silent') {
    throw new Error('it is there and does not answer');
  }
  return keeper === 'gone' ? undefined : keeper;
}

async function keeperEvents({ keeper, runtimeDir }: Subject, signal: AbortSignal): Promise<unknown> {
  if (keeper === 'gone') {
    return undefined;
  }
  const client = new SocketClient({ socketPath: join(runtimeDir, 'keeper.sock') });
  try {
    const chunks: Buffer[] = [];
    for await (const chunk of client.stream('/events?follow=false', signal)) {
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString('utf8');
  } finally {
    await client.destroy();
  }
}

/** Nothing that changes the VM, and not what its metadata service holds. */
function api(path: string): Source['collect'] {
  return async ({ record, runtimeDir }, signal) => {
    const socketPath = record?.socketPath ?? join(vmmFolder(runtimeDir), 'api.sock');
    if (!existsSync(socketPath)) {
      return undefined; // not yet, or no more
    }
    const client = new SocketClient({ socketPath });
    try {
      return await client.get(path, { signal });
    } finally {
      await client.destroy();
    }
  };
}

async function findings({ id, runtimeRoot }: Subject): Promise<unknown> {
  const all = await diagnose({ runtimeDir: runtimeRoot });
  return all.filter(({ vm }) => vm === undefined || vm === id);
}
