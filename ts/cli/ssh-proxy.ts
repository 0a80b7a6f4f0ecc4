import type { Command } from 'commander';

export function addSshProxyCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('ssh-proxy')
    .description("join standard input and output to the SSH server of a VM's agent; a ProxyCommand for ssh")
    .argument('<vm>', 'its id, its name, or the beginning of its id')
    .addHelpText('after', "\nExample:\n  ssh -o ProxyCommand='smartvm ssh-proxy web' -i KEY root@web")
    .action(async (vm: string) => {
      const { sshProxy } = await import('./ssh/proxy.js');
      exit(await sshProxy(vm));
    });
}
