import { type Command, Option } from 'commander';
import type { CreateNetworkOptions } from './network/create.js';
import { EGRESS_HELP } from './network/egress-help.js';
import { collect, integer } from './options.js';
import { FORMAT_HELP } from './vms/format.js';

const HELP = `
VMs are put into networks by 'smartvm run --network NAME'. The network 'default' is always there; 'none' is no network at all.

Examples:
  smartvm network create --egress internet web
  smartvm network ls`;

const CREATE_HELP = `
Nothing of a network is made on the host before its first VM is, and it goes with the last. VMs of one network are kept from each
other, unless --no-isolation is given. What is open to them by default is the internet: not this host, nor private ranges.

Examples:
  smartvm network create web
  smartvm network create --egress allow=10.0.0.0/8,tcp,443 --egress deny=any office
  smartvm network create --via wg0 --no-ipv6 tunnel
  smartvm network create --mode bridge --bridge br0 --subnet 192.168.1.0/24 --gateway 192.168.1.254 lan`;

export function addNetworkCommand(program: Command, exit: (code: number) => void): void {
  const network = program
    .command('network')
    .description('manage the networks that VMs are in')
    .helpCommand(false)
    .addHelpText('after', HELP);
  addCreate(network, exit);
  addInspect(network, exit);
  addLs(network, exit);
  addRm(network, exit);
}

function addCreate(network: Command, exit: (code: number) => void): void {
  network
    .command('create')
    .description('define a network, and print its name')
    .argument('<name>', '1 to 64 letters, digits or hyphens')
    .addOption(
      new Option('--mode <mode>', 'how its VMs reach the world')
        .choices(['nat', 'bridge', 'netns', 'none', 'user'])
        .default('nat'),
    )
    .option('--subnet <cidr>', 'IPv4 addresses; a /24 that is free, where none is given')
    .option('--ipv6 <cidr>', 'unique local IPv6 addresses; a /64 of its own, where none is given')
    .option('--no-ipv6', 'no IPv6')
    .option('--gateway <ip>', "with the mode 'bridge': the gateway, where it is not the subnet's first address")
    .option('--bridge <name>', "the bridge on the host; with the mode 'bridge', it is there already")
    .option('--mtu <bytes>', 'largest packet', integer(576, 65_535))
    .option('--dns <ip>', 'name server for its VMs; can be given several times', collect)
    .option('--egress <rule>', EGRESS_HELP, collect)
    .option('--no-isolation', 'let its VMs reach each other')
    .option('--via <interface>', 'interface of the host by which all of it leaves, such as wg0')
    .addHelpText('after', CREATE_HELP)
    .action(async (name: string, options: CreateNetworkOptions) => {
      const { createNetwork } = await import('./network/create.js');
      exit(await createNetwork(name, options));
    });
}

function addInspect(network: Command, exit: (code: number) => void): void {
  network
    .command('inspect')
    .description('print all that is known of networks, and which VMs are in them, as JSON')
    .argument('<network...>', 'their names')
    .option('-f, --format <format>', "'json' for a line each, or a template such as '{{.Ipv4}}'")
    .addHelpText('after', "\nExample:\n  smartvm network inspect --format '{{.Bridge}} {{.Ipv4}}' default")
    .action(async (names: string[], { format }: { format?: string }) => {
      const { inspectNetworks } = await import('./network/inspect.js');
      exit(await inspectNetworks(names, format));
    });
}

function addLs(network: Command, exit: (code: number) => void): void {
  network
    .command('ls')
    .description('list the networks')
    .option('--format <format>', FORMAT_HELP)
    .option('-q, --quiet', 'print the names alone')
    .addHelpText('after', "\nExample:\n  smartvm network ls --format '{{.Name}} {{.Ipv4}}'")
    .action(async (options: { format?: string; quiet?: boolean }) => {
      const { listNetworks } = await import('./network/ls.js');
      exit(await listNetworks(options));
    });
}

function addRm(network: Command, exit: (code: number) => void): void {
  network
    .command('rm')
    .description('remove networks in which no VM is')
    .argument('<network...>', 'their names')
    .addHelpText('after', '\nExample:\n  smartvm network rm web office')
    .action(async (names: string[]) => {
      const { removeNetworks } = await import('./network/rm.js');
      exit(await removeNetworks(names));
    });
}
