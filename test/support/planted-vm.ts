import type { PlantedHost } from './planted-host.js';

export interface PlantedProcess {
  pid: number;
  parent: number;
  program: string;
  uid: number;
  seccomp: number;
  noNewPrivs: number;
  openFiles: string;
  /** Suffix of the names of its namespaces: `host` shares this host's. */
  namespaces: string;
  cgroup: string;
}

/** A process without a fault, but for what is said. */
export async function plantProcess(host: PlantedHost, part: Partial<PlantedProcess> & { pid: number }): Promise<void> {
  const { pid, parent, program, uid, seccomp, noNewPrivs, openFiles, namespaces, cgroup } = {
    parent: 1,
    program: 'firecracker',
    uid: 1_900_000_000 + part.pid,
    seccomp: 2,
    noNewPrivs: 1,
    openFiles: '2048',
    namespaces: String(part.pid),
    cgroup: `/smartvm/${part.pid}`,
    ...part,
  };
  const proc = `/proc/${pid}`;
  const status = `Name:\t${program}\nUid:\t${uid}\t${uid}\t${uid}\t${uid}\nNoNewPrivs:\t${noNewPrivs}\nSeccomp:\t`;
  await host.plant(`${proc}/stat`, `${pid} (a (very) odd name) S ${parent} 1 1 0`);
  await host.plant(`${proc}/task/${pid}/status`, `${status}2\n`);
  await host.plant(`${proc}/task/${pid + 1}/status`, `${status}${seccomp}\n`); // one thread is enough
  await host.plant(`${proc}/cgroup`, `0::${cgroup}\n`);
  await host.plant(
    `${proc}/limits`,
    `Limit  Soft Limit  Hard Limit  Units\nMax open files  1024  ${openFiles}  files\n`,
  );
  await host.link(`${proc}/exe`, `/usr/bin/${program}`);
  for (const name of ['mnt', 'pid', 'ipc']) {
    await host.link(`/proc/self/ns/${name}`, `${name}:[host]`);
    await host.link(`${proc}/ns/${name}`, `${name}:[${namespaces}]`);
  }
}

/** A VM whose VMM is one process, in a cgroup with these limits. */
export async function plantVm(
  host: PlantedHost,
  part: Partial<PlantedProcess> & { pid: number },
  limits: { memory: string; pids: string } = { memory: '268435456', pids: '64' },
): Promise<void> {
  await host.keeper(`vm-${part.pid}`, { state: 'running', vmmPid: part.pid });
  await plantProcess(host, part);
  const cgroup = `/sys/fs/cgroup${part.cgroup ?? `/smartvm/${part.pid}`}`;
  await host.plant(`${cgroup}/memory.max`, `${limits.memory}\n`);
  await host.plant(`${cgroup}/pids.max`, `${limits.pids}\n`);
}
