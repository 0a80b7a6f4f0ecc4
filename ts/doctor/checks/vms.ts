import { shellWord } from '../../util/shell-word.js';
import { type Check, fail, info, ok, type Result, warn } from '../finding.js';
import type { Host } from '../host.js';
import type { VmProcess } from '../processes.js';
import { type RunningVm, vmsOf } from '../running-vms.js';
import { limitProblems } from '../vm-limits.js';

/** Those that the VMM and the host need not share; a VM's network may be the host's where its TAP device is. */
const NAMESPACES = ['mnt', 'pid', 'ipc'] as const;

const JAIL = 'start it jailed: by SmartVM as root, without jail: false';
/** Node.js, which carries bytes of the guest under QEMU and does not run it. */
const INTERPRETER = /^node/;

export const VM_CHECKS: readonly Check[] = [
  {
    id: 'vms',
    area: 'vms',
    title: 'Running VMs',
    about: 'The keepers below the runtime directory answer. Tells of VMs that have ended and are there to be read.',
    run: checkVms,
  },
  {
    id: 'vm-user',
    area: 'vms',
    title: 'User',
    about: 'Each VM has a user of its own, which is not root and runs no other VM. Fails for one that runs as root.',
    run: async (host) => {
      const { running } = await vmsOf(host);
      return running.map((vm) => about(vm, userOf(vm, running, host)));
    },
  },
  {
    id: 'vm-seccomp',
    area: 'vms',
    title: 'System calls',
    about:
      'Every thread of the process that runs the guest, Firecracker or QEMU, is under a seccomp filter (`Seccomp: 2`). Fails without.',
    run: (host) => eachVm(host, checkSeccomp),
  },
  {
    id: 'vm-no-new-privs',
    area: 'vms',
    title: 'Privileges',
    about: "No process that sees the guest's data can gain privileges (`NoNewPrivs: 1`).",
    run: (host) => eachVm(host, checkNoNewPrivs),
  },
  {
    id: 'vm-limits',
    area: 'vms',
    title: 'Limits',
    about: "A cgroup of the VM's own limits its memory and its processes, and a resource limit its open files.",
    run: (host) =>
      eachVm(host, async (vm) => {
        const problems = await limitProblems(host, vm);
        return problems.length === 0 ? ok('of memory, processes and open files') : warn(problems.join('; '), JAIL);
      }),
  },
  {
    id: 'vm-namespaces',
    area: 'vms',
    title: 'Namespaces',
    about: "Mounts, processes and IPC of the VM are namespaces of its own and not the host's.",
    run: (host) => eachVm(host, (vm) => checkNamespaces(host, vm)),
  },
];

async function checkVms(host: Host): Promise<Result[]> {
  const { running, silent, left } = await vmsOf(host);
  const results = silent.map((vm) => ({
    ...warn(
      'its keeper does not answer',
      `look at ${shellWord(`${host.runtimeDir}/${vm}`)}; to end the VM, kill its smartvm-keeper`,
    ),
    vm,
  }));
  const leftovers = left.map((vm) => ({
    ...info(
      'it has ended, and what is left of it is there',
      `smartvm logs ${vm} has what it printed; smartvm rm ${vm} removes it`,
    ),
    vm,
  }));
  const count = running.length === 0 ? 'none' : String(running.length);
  return [ok(`${count}, below ${host.runtimeDir}`), ...results, ...leftovers];
}

async function eachVm(host: Host, check: (vm: RunningVm) => Promise<Result> | Result): Promise<Result[]> {
  const { running } = await vmsOf(host);
  return await Promise.all(running.map(async (vm) => about(vm, await check(vm))));
}

const about = ({ id }: RunningVm, result: Result): Result => ({ ...result, vm: id });

function uidsOf({ processes }: RunningVm): Set<number> {
  return new Set(processes.flatMap(({ threads }) => threads.flatMap(({ uids }) => uids)));
}

function userOf(vm: RunningVm, all: readonly RunningVm[], host: Host): Result {
  const uids = uidsOf(vm);
  if (uids.has(0)) {
    return fail('it runs as root: a guest that breaks out of its VMM is root on the host', JAIL);
  }
  if (uids.has(host.uid)) {
    return warn('it runs as the user who runs SmartVM, and can do what that user can', JAIL);
  }
  const sharers = all.filter((other) => other !== vm && [...uidsOf(other)].some((uid) => uids.has(uid)));
  return sharers.length > 0
    ? warn(`another VM has its user too, and each can reach the files of the other: ${[...uids].join(', ')}`, JAIL)
    : ok('one of its own, not root');
}

function checkSeccomp({ processes }: RunningVm): Result {
  const runners = processes.filter(({ program }) => !INTERPRETER.test(program));
  if (runners.length === 0) {
    return info('its guest has not started');
  }
  const open = runners.filter(({ threads }) => threads.some(({ seccomp }) => seccomp !== 2));
  return open.length === 0
    ? ok(`every thread of ${names(runners)} is filtered`)
    : fail(`${names(open)} may make any system call`, 'start it with the seccomp filters that it has by default');
}

function checkNoNewPrivs({ processes }: RunningVm): Result {
  const open = processes.filter(({ threads }) => threads.some(({ noNewPrivs }) => !noNewPrivs));
  return open.length === 0
    ? ok(`${names(processes)} cannot gain any`)
    : warn(`${names(open)} can gain privileges by what it executes`, JAIL);
}

async function checkNamespaces(host: Host, { processes }: RunningVm): Promise<Result> {
  const links = NAMESPACES.map(async (name) => {
    const [ours, ...theirs] = await Promise.all([
      host.link(`/proc/self/ns/${name}`),
      ...processes.map(({ pid }) => host.link(`/proc/${pid}/ns/${name}`)),
    ]);
    return { name, isShared: theirs.includes(ours), isHidden: theirs.includes(undefined) };
  });
  const namespaces = await Promise.all(links);
  if (namespaces.some(({ isHidden }) => isHidden)) {
    return info('only root can see them');
  }
  const shared = namespaces.filter(({ isShared }) => isShared).map(({ name }) => name);
  return shared.length === 0
    ? ok(`${NAMESPACES.join(', ')} are its own`)
    : warn(`${shared.join(', ')}: it shares the host's`, JAIL);
}

function names(processes: readonly VmProcess[]): string {
  return [...new Set(processes.map(({ program }) => program))].join(', ');
}
