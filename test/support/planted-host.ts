import { chmod, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { Server } from 'node:net';
import { dirname, join } from 'node:path';
import { diagnose } from '../../ts/doctor/diagnose.js';
import type { Finding } from '../../ts/doctor/finding.js';
import type { HostOptions } from '../../ts/doctor/host.js';
import { hostArch } from '../../ts/vmm/host.js';
import { type ScratchDirectory, scratchDirectory } from './scratch.js';
import { closeServer } from './unix-server.js';

const CPU = '/sys/devices/system/cpu';

/** What a production host without a fault says, for those files that checks read. */
const HEALTHY: Readonly<Record<string, string>> = {
  '/dev/kvm': '',
  '/dev/net/tun': '',
  '/proc/cpuinfo': 'processor : 0\nmicrocode : 0x2b\nflags : fpu vmx\n',
  '/proc/swaps': 'Filename Type Size Used Priority\n',
  '/proc/self/mountinfo': '31 23 0:28 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw\n',
  '/proc/sys/kernel/osrelease': '6.1.0-25-amd64\n',
  '/proc/sys/kernel/printk': '1 4 1 7\n',
  '/proc/sys/net/ipv4/ip_forward': '1\n',
  '/sys/fs/cgroup/cgroup.controllers': 'cpuset cpu io memory hugetlb pids\n',
  [`${CPU}/smt/active`]: '0\n',
  [`${CPU}/smt/control`]: 'off\n',
  [`${CPU}/vulnerabilities/itlb_multihit`]: 'KVM: Mitigation: Split huge pages\n',
  [`${CPU}/vulnerabilities/l1tf`]: 'Mitigation: PTE Inversion; VMX: cache flushes, SMT disabled\n',
  [`${CPU}/vulnerabilities/old_microcode`]: 'Not affected\n',
  '/sys/kernel/mm/ksm/run': '0\n',
  '/sys/kernel/mm/ksm/pages_shared': '0\n',
  '/sys/module/kvm/parameters/nx_huge_pages': 'Y\n',
};

const PROGRAMS: Readonly<Record<string, string>> = {
  nft: 'true',
  skopeo: 'true',
  umoci: 'true',
  firecracker: 'echo Firecracker v1.16.1',
  jailer: 'echo Jailer v1.16.1',
  [`qemu-system-${hostArch()}`]: 'echo QEMU emulator version 10.0.2',
};

/** Real files that stand for a host: below a directory of a test's own, without a fault until one is planted. */
export class PlantedHost implements AsyncDisposable {
  readonly #scratch: ScratchDirectory;
  readonly #servers: Server[] = [];

  private constructor(scratch: ScratchDirectory) {
    this.#scratch = scratch;
  }

  static async healthy(): Promise<PlantedHost> {
    const host = new PlantedHost(await scratchDirectory());
    await Promise.all(Object.entries(HEALTHY).map(([path, text]) => host.plant(path, text)));
    await Promise.all(Object.entries(PROGRAMS).map(([name, line]) => host.program(name, line)));
    await host.directory('/var/lib/smartvm', 0o700);
    await host.directory('/run/smartvm', 0o700);
    return host;
  }

  at(path: string): string {
    return this.#scratch.file(path);
  }

  async plant(path: string, text: string): Promise<void> {
    await mkdir(dirname(this.at(path)), { recursive: true });
    await writeFile(this.at(path), text);
  }

  async directory(path: string, mode: number): Promise<void> {
    await mkdir(this.at(path), { recursive: true });
    await chmod(this.at(path), mode);
  }

  async link(path: string, target: string): Promise<void> {
    await mkdir(dirname(this.at(path)), { recursive: true });
    await rm(this.at(path), { recursive: true, force: true });
    await symlink(target, this.at(path));
  }

  async remove(path: string): Promise<void> {
    await rm(this.at(path), { recursive: true });
  }

  /** A shell script on the host's PATH. */
  async program(name: string, line: string): Promise<void> {
    await this.executable(`/usr/bin/${name}`, line);
  }

  /** A shell script. */
  async executable(path: string, line: string): Promise<void> {
    await this.plant(path, `#!/bin/sh\n${line}\n`);
    await chmod(this.at(path), 0o755);
  }

  /** What listens on a keeper's socket; without an answer it listens and says nothing. */
  async keeper(id: string, answer?: object): Promise<void> {
    const path = join('/run/smartvm', id, 'keeper.sock');
    await this.directory(dirname(path), 0o700);
    const server = createServer((_request, response) => {
      if (answer !== undefined) {
        response.end(JSON.stringify(answer));
      }
    });
    this.#servers.push(server);
    await new Promise<void>((resolve) => server.listen(this.at(path), resolve));
  }

  /** What the doctor finds here, of all checks or of one. */
  async findings(id?: string, options: HostOptions = {}): Promise<Finding[]> {
    const findings = await diagnose({
      root: this.#scratch.path,
      searchPath: '/usr/local/bin:/usr/bin',
      dataDir: '/var/lib/smartvm',
      runtimeDir: '/run/smartvm',
      findVmm: async () => ({ kind: 'firecracker', path: '/usr/bin/firecracker' }),
      ...options,
    });
    return findings.filter((finding) => id === undefined || finding.id === id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#servers.map((server) => closeServer(server, [])));
    await this.#scratch[Symbol.asyncDispose]();
  }
}
