import { type Command, Option } from 'commander';
import { MAX_LAYER_MIB, MIN_LAYER_MIB } from '../config/layers.js';
import { EGRESS_HELP } from './network/egress-help.js';
import { collect, integer, seconds } from './options.js';
import type { RunOptions } from './run/launch.js';

/** Debian's kernel and the agent do not start in less. */
const MIN_MEMORY_MIB = 96;

const HELP = `
Exit code: the command's own; 124 when --timeout or --ttl ended it; 125 when smartvm failed; 126 and 127
when the command could not be executed or found; 128 + the number of the signal that ended it. With
--detach, 0 once the command runs, and all that --ready says has come to pass.

A detached VM ends with its command, whose output 'smartvm logs' shows; without a command it runs until it is
stopped. When it has ended by itself, 'smartvm ps -a' lists it, and its logs and exit code can be read, until
'smartvm rm' or 'smartvm prune'; with --rm, nothing of it is left.

A VM is in the network 'default', or in that which SMARTVM_NETWORK names, where nothing else is said. On a host without networks for
VMs it is then in none, and a line says why; with one of --network, --publish, --egress, --dns and --ip, it does not start.

What a VM writes goes with it. With --keep it stays as a layer of that name: the next VM with it finds all that
was written, and boots the same image. 'smartvm layer ls' lists such layers, 'smartvm layer rm' removes them.

Examples:
  smartvm run --memory 512 -- uname -a
  smartvm run -d --name web --image oci:python:3.12 -e PORT=8080 -- python3 -m http.server
  smartvm run --keep work --disk-size 4096 -- sh -c 'date >> /root/log; cat /root/log'
  smartvm run -d --rm --ttl 3600
  smartvm run -d --name db --ready 'log:ready to accept connections' --image oci:postgres:17 -e POSTGRES_PASSWORD=x
  smartvm run --init image -- systemctl list-units
  smartvm run -d --name site -p 8080:80 --egress none --image oci:python:3.12 -- python3 -m http.server 80`;

export function addRunCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('run')
    .description('boot a microVM and run a command in it')
    .argument('[command...]', "the command and its arguments; put -- before them; by default an OCI image's own")
    .option(
      '--image <name>',
      'image to boot: debian, oci:python:3.12, ./directory … (default: debian; of a layer that is kept, its own)',
    )
    .option('--entrypoint <program>', "run this in place of the OCI image's own entrypoint")
    .addOption(
      new Option('--pull <when>', 'whether to ask for an image anew that is there')
        .choices(['always', 'missing'])
        .default('missing'),
    )
    .option('--cpus <n>', 'virtual CPUs, 1 to 32', integer(1, 32), 1)
    .option('--memory <MiB>', 'memory in MiB', integer(MIN_MEMORY_MIB, Number.MAX_SAFE_INTEGER), 256)
    .option(
      '--disk-size <MiB>',
      'what the VM can write, in MiB, sparse on the host',
      integer(MIN_LAYER_MIB, MAX_LAYER_MIB),
    )
    .option('--keep <layer>', 'keep what the VM writes, as a layer of that name; where there is one, go on with it')
    .addOption(
      new Option('--layer <kind>', 'how it writes: to a drive laid over the image, or to a copy of an ext4 image')
        .choices(['auto', 'overlay', 'reflink', 'copy'])
        .default('auto'),
    )
    .option('-d, --detach', 'leave the VM running, and print its id')
    .option('--rm', 'leave nothing of a detached VM when it ends; of others, nothing is left anyway')
    .option('--name <name>', 'another way to say which VM is meant; of those that live, one has it')
    .option('--id <id>', 'id of the VM, in place of one that is made up')
    .option('-l, --label <key=value>', 'label of the VM, for lists and filters; can be given several times', collect)
    .option(
      '-e, --env <name=value>',
      'variable for all commands of the VM; a name alone takes its value from here',
      collect,
    )
    .option('--env-file <file>', 'file with such variables, one a line', collect)
    .option('-w, --workdir <path>', 'directory in which commands run that name none')
    .option('-u, --user <user>', 'user for commands that name none: a name, uid or uid:gid of the guest')
    .addOption(
      new Option(
        '--init <which>',
        "what is PID 1 in the guest: SmartVM's agent, or the image's own init, such as systemd",
      )
        .choices(['agent', 'image'])
        .default('agent'),
    )
    .option('--hostname <name>', "the guest's name for itself; the id, where there is none")
    .option(
      '--network <name>',
      "network to be in, 'none' or one of 'smartvm network ls'; can be given several times",
      collect,
    )
    .option(
      '-p, --publish <port>',
      'port of the host that leads to one of the guest: [ip:][hostPort:]guestPort[/udp]; can be given several times',
      collect,
    )
    .option('--egress <rule>', EGRESS_HELP, collect)
    .option('--dns <ip>', 'name server; can be given several times', collect)
    .option('--ip <ip>', 'address in the first network; one of IPv4 and one of IPv6 can be given', collect)
    .option('--ttl <seconds>', 'end the VM after this many seconds, whatever becomes of this program', seconds)
    .option('--timeout <seconds>', 'end the command after this many seconds, with exit code 124', seconds)
    .option(
      '--ready <wait>',
      'with --detach, return when this has come to pass: port:8080, http:8080/path, log:REGEX, cmd:COMMAND; all, if given several times',
      collect,
    )
    .option('--ready-timeout <seconds>', 'most seconds for --ready, 60 by default; then the VM is ended', seconds)
    .option('--queue <seconds>', 'wait up to this many seconds where the host has no room for the VM', seconds)
    .option('-i, --interactive', "pass standard input on to the command's")
    .option('--no-jail', "run the VMM with this user's own rights; as root, it is jailed otherwise")
    .passThroughOptions()
    .addHelpText('after', HELP)
    .action(async (words: string[], options: RunOptions, command: Command) => {
      const problem = problemOf(words, options);
      if (problem !== undefined) {
        command.error(`error: ${problem}`);
      }
      const { run } = await import('./run/launch.js'); // not for the help
      exit(await run(words, options));
    });
}

/** What is asked for and cannot be had together. */
function problemOf(words: readonly string[], options: RunOptions): string | undefined {
  const { detach, image = options.keep === undefined ? 'debian' : '', timeout, interactive } = options;
  if (options.readyTimeout !== undefined && !options.ready) {
    return '--ready-timeout is for --ready';
  }
  if (!detach) {
    if (options.ready) {
      return '--ready is for --detach: any other command is waited for until its end';
    }
    // Others may have a command of their own, which is known once they are there.
    return words.length === 0 && /^debian\b/.test(image) ? "missing required argument 'command'" : undefined;
  }
  if (timeout !== undefined) {
    return '--timeout is for a command that is waited for; with --detach, --ttl ends the VM';
  }
  return interactive ? '--interactive is for a command that is waited for, not for --detach' : undefined;
}
