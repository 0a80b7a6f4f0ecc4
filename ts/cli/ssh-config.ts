import type { Command } from 'commander';

export function addSshConfigCommand(program: Command): void {
  program
    .command('ssh-config')
    .description(
      "print the lines of ssh_config that let ssh, scp, sftp, rsync and editors into a VM, to its agent's SSH server",
    )
    .argument('<vm>', 'its id, its name, or the beginning of its id')
    .option('--host <alias>', 'what ssh is to know it by; default: as it was named here')
    .addHelpText(
      'after',
      '\nThe guest needs neither a network nor an SSH server. The keys are in files of the VM, and end with it.',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  smartvm ssh-config web > web.conf && ssh -F web.conf web\n  smartvm ssh-config --host box web >> ~/.ssh/config',
    )
    .action(async (vm: string, { host }: { host?: string }) => {
      const [{ sshConfig }, { print }] = await Promise.all([import('./ssh/config.js'), import('./vms/output.js')]);
      await print(await sshConfig(vm, host));
    });
}
