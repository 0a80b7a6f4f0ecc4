import type { Command } from 'commander';

const HELP = `
A side is a TCP port or the path of a Unix socket. The guest needs no network, and is reached at its loopback.

Examples:
  smartvm port-forward web 8080:80 :5432
  smartvm port-forward web 0.0.0.0:8080:80
  smartvm port-forward web /tmp/docker.sock:/run/docker.sock
  smartvm port-forward --reverse web 3128:3128`;

export function addPortForwardCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('port-forward')
    .description("make ports and Unix sockets of a VM's guest ones of the host, until it is interrupted")
    .argument('<vm>', 'its id, its name, or the beginning of its id')
    .argument(
      '<ports...>',
      '[[address:]host:]guest; nothing before a colon is any port that is free. Default address: 127.0.0.1',
    )
    .option('-R, --reverse', "make the host's ones of the guest")
    .addHelpText('after', HELP)
    .action(async (vm: string, ports: string[], { reverse = false }: { reverse?: boolean }) => {
      const { portForward } = await import('./ports/forward.js');
      exit(await portForward(vm, ports, reverse));
    });
}
