import { type Command, InvalidArgumentError } from 'commander';
import { FIRECRACKER_VERSION } from '../vmm/release-files.js';
import type { InstallOptions } from './install/install.js';

export function addInstallCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('install')
    .description('find or fetch what SmartVM needs on this machine: Firecracker or QEMU, system tools, an image')
    .option('--with-deps', 'install missing system packages with apt-get, as root or by sudo -n')
    .option('--firecracker', 'fetch Firecracker although KVM cannot run guests here')
    .option(
      '--firecracker-version <version>',
      `such as ${FIRECRACKER_VERSION}, which is the default, or latest`,
      version,
    )
    .option('--image <name>', 'image to make ready', 'debian')
    .option('--no-image', 'no image')
    .option('--dry-run', 'say what would be done, and why')
    .option('--json', 'print one JSON document on standard output; lines go to standard error')
    .addHelpText(
      'after',
      `
Exit code: 0 when SmartVM can run here, 1 when something is missing.

Environment:
  HTTPS_PROXY, NO_PROXY         the proxy for what is fetched
  NODE_EXTRA_CA_CERTS           file with a certificate authority of one's own
  SMARTVM_FIRECRACKER_MIRROR    in place of https://github.com/firecracker-microvm/firecracker/releases
  SMARTVM_DATA_DIR              where Firecracker and images are kept

Example:
  smartvm install --with-deps`,
    )
    .action(async (options: InstallOptions) => {
      const { install } = await import('./install/install.js');
      exit(await install(options));
    });
}

function version(text: string): string {
  const number = /^v?(\d+\.\d+\.\d+)$/.exec(text)?.[1];
  if (number === undefined && text !== 'latest') {
    throw new InvalidArgumentError(`It is a version such as ${FIRECRACKER_VERSION}, or latest.`);
  }
  return number ?? text;
}
