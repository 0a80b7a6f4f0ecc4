import { existsSync } from 'node:fs';
import { Failure, run, which } from './process.mjs';
import { say } from './say.mjs';

const ARM = process.arch === 'arm64';
const isRoot = process.getuid() === 0;

/** What must be there (a program, or a file where the path is absolute), and Debian's and Ubuntu's package of it. */
const RUN = [
  ARM ? ['qemu-system-aarch64', 'qemu-system-arm'] : ['qemu-system-x86_64', 'qemu-system-x86'],
  ['mmdebstrap', 'mmdebstrap'],
  ['mksquashfs', 'squashfs-tools'],
  ['mke2fs', 'e2fsprogs'],
  ['skopeo', 'skopeo'],
  ['umoci', 'umoci'],
  ['xz', 'xz-utils'],
  ['zstd', 'zstd'],
  ['depmod', 'kmod'],
  ['ip', 'iproute2'],
  ['mount', 'mount'],
  ['unshare', 'util-linux'],
  ['setpriv', 'util-linux'],
  ['flock', 'util-linux'],
  ['/usr/share/keyrings/debian-archive-keyring.gpg', 'debian-archive-keyring'],
  ['/etc/ssl/certs/ca-certificates.crt', 'ca-certificates'],
  ...(isRoot ? [] : [['newuidmap', 'uidmap']]),
  // A VM runs without, but in no network.
  ...(isRoot && which('apt-get') ? [['nft', 'nftables']] : []),
];
const TEST = [
  ['gcc', 'gcc'],
  ['/usr/include/stdio.h', 'libc6-dev'],
  ['cpio', 'cpio'],
  ['ssh', 'openssh-client'],
  ['rsync', 'rsync'],
  ['tmux', 'tmux'],
  ['vim.tiny', 'vim-tiny'],
  ...(isRoot
    ? [
        ['sysctl', 'procps'],
        ['wireguard-go', 'wireguard-go'],
      ]
    : []),
];

const LOCK = ['-o', 'DPkg::Lock::Timeout=120'];

/** Installs the system packages that are missing, with apt. Elsewhere than on Debian and Ubuntu it says what to install. */
export async function installSystemPackages({ forTests = false } = {}) {
  const missing = [...RUN, ...(forTests ? TEST : [])].filter(([name]) => !isThere(name));
  if (missing.length === 0) {
    return;
  }
  const packages = [...new Set(missing.map(([, name]) => name))];
  if (!which('apt-get')) {
    const names = missing.map(([name]) => name).join(', ');
    throw new Failure(`missing on this machine: ${names}\nInstall them (Debian's packages: ${packages.join(' ')}).`);
  }
  const apt = await aptGet(packages);
  say(`installing ${packages.join(', ')} with apt-get`);
  const install = ['install', '--yes', '--no-install-recommends', ...LOCK];
  const download = [...install, '--download-only', ...packages];
  if ((await apt(download, { check: false })).code !== 0) {
    say("updating apt's package lists");
    await apt(['update', ...LOCK]);
    await apt(download);
  }
  // A half-configured package is a nuisance to every program that uses apt: this one step runs to its end.
  await apt([...install, ...packages], { finish: true });
  const still = missing.filter(([name]) => !isThere(name));
  if (still.length > 0) {
    throw new Failure(`installed, and still missing: ${still.map(([name]) => name).join(', ')}`);
  }
}

function isThere(name) {
  return name.startsWith('/') ? existsSync(name) : which(name) !== undefined;
}

/** apt-get with the rights it needs, and without questions. */
async function aptGet(packages) {
  const environment = ['DEBIAN_FRONTEND=noninteractive', 'NEEDRESTART_MODE=l', 'LC_ALL=C.UTF-8'];
  const command = ['env', ...environment, 'apt-get', '-qq'];
  if (!isRoot) {
    const may = which('sudo') && (await run('sudo', ['-n', 'true'], { check: false })).code === 0;
    if (!may) {
      throw new Failure(
        `system packages are missing, and sudo would ask for a password. Run this, then try again:\n  sudo apt-get install --no-install-recommends ${packages.join(' ')}`,
      );
    }
    command.unshift('sudo', '-n');
  }
  const [program, ...first] = command;
  return (args, options) => run(program, [...first, ...args], options);
}
