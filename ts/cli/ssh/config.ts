import { join, resolve } from 'node:path';
import { type GuestAccess, readGuestAccess } from '../../guest/access.js';
import { writeFileAtomic } from '../../util/atomic-file.js';
import { PACKAGE_ROOT } from '../../util/package-root.js';
import { shellWord } from '../../util/shell-word.js';
import { refuseWithoutAgent } from '../../vm/without-agent.js';
import { findLivingVm } from '../vms/attached.js';
import type { ListedVm } from '../vms/list.js';

const KEY = 'ssh_key';
const KNOWN_HOSTS = 'ssh_known_hosts';

/** The way to a VM's agent. @throws SmartVMError AGENT_MISSING for one without an agent of ours */
export async function accessOf({ id, runtimeDir }: ListedVm): Promise<GuestAccess> {
  return (await readGuestAccess(runtimeDir)) ?? refuseWithoutAgent(id);
}

/**
 * What lets OpenSSH's programs into a VM, as a section of `ssh_config`. The key and the host's key go into files of the VM's directory,
 * which this user alone can read, and which end with the VM.
 */
export async function sshConfig(reference: string, host: string = reference): Promise<string> {
  const vm = findLivingVm(reference);
  const { keys } = await accessOf(vm);
  const runtimeDir = resolve(vm.runtimeDir);
  const alias = `smartvm-${vm.id}`;
  const [key, knownHosts] = [join(runtimeDir, KEY), join(runtimeDir, KNOWN_HOSTS)];
  await writeFileAtomic(key, keys.clientKey);
  await writeFileAtomic(knownHosts, `${alias} ssh-ed25519 ${keys.hostPublicKey}\n`);
  const proxy = [process.execPath, join(PACKAGE_ROOT, 'bin/smartvm'), 'ssh-proxy', vm.id];
  const command = ['env', `SMARTVM_RUNTIME_DIR=${resolve(runtimeDir, '..')}`, ...proxy].map(sshShellWord).join(' ');
  const settings = [
    `HostName ${alias}`,
    'User root',
    `ProxyCommand ${command}`,
    `IdentityFile ${quoted(key)}`,
    'IdentitiesOnly yes',
    `UserKnownHostsFile ${quoted(knownHosts)}`,
    `HostKeyAlias ${alias}`,
    'StrictHostKeyChecking yes',
    'UpdateHostKeys no',
    'LogLevel ERROR',
  ];
  return [`Host ${host}`, ...settings.map((line) => `  ${line}`), ''].join('\n');
}

/** A word of ssh_config, in which % begins a token. */
function quoted(word: string): string {
  return `"${word.replaceAll('%', '%%')}"`;
}

/** A word of a shell's command line, in which ssh looks for tokens first. */
function sshShellWord(word: string): string {
  return shellWord(word.replaceAll('%', '%%'));
}
