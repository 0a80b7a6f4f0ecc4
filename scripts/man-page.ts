import { readFileSync } from 'node:fs';
import type { Argument, Command, Option } from 'commander';
import { smartvmProgram } from '../ts/cli/program.js';
import { helpExamples } from './help-examples.js';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

/** What the man page says beyond the help; exit codes as ts/cli has them. */
const BEHIND = `.SH EXIT STATUS
.TP
.B 1
It could not be done for all VMs that were named.
.TP
.B 124
.B \\-\\-timeout
ended the command.
.TP
.B 125
SmartVM failed.
.TP
.BR 126 ", " 127
The command could not be executed, or was not found.
.TP
.RI 128+ n
Signal
.I n
ended the command, or SmartVM.
.PP
All others are the command's own.
.SH ENVIRONMENT
.TP
.B SMARTVM_DATA_DIR
Where images are kept. Default: /var/lib/smartvm for root, the user's data home for others.
.TP
.B SMARTVM_RUNTIME_DIR
Where running VMs have their directories. Default: /run/smartvm for root, $XDG_RUNTIME_DIR/smartvm for others.`;

/** man/smartvm.1: the help of all commands as a manual page, in roff's man macros (man(7)). */
export async function renderManPage(): Promise<string> {
  const program = await smartvmProgram(version, () => undefined);
  const help = program.createHelp();
  const commands = help.visibleCommands(program).filter((command) => command.name() !== 'help');
  return `.\\" Written by: npm run docs
.TH SMARTVM 1 "" "smartvm ${version}"
.SH NAME
smartvm \\- ${roff(program.description())}
.SH SYNOPSIS
.B smartvm
${roff(help.commandUsage(program).replace(/^smartvm /, ''))}
.SH OPTIONS
${help.visibleOptions(program).map(option).join('\n')}
.SH COMMANDS
${commands.map(section).join('\n')}
${BEHIND}
`;
}

function section(command: Command): string {
  const help = command.createHelp();
  const parts = [
    `.SS ${roff(help.commandUsage(command))}`,
    `${roff(sentence(command.description()))}`,
    ...command.registeredArguments.map(argument),
    ...help.visibleOptions(command).map(option),
    '.PP',
    '.EX',
    ...helpExamples(command).map(roff),
    '.EE',
  ];
  return parts.join('\n');
}

function option({ flags, description, argChoices, defaultValue }: Option): string {
  const choices = argChoices ? ` One of ${argChoices.join(', ')}.` : '';
  const fallback = defaultValue === undefined ? '' : ` Default: ${defaultValue}.`;
  return `.TP\n.B ${roff(flags)}\n${roff(sentence(description) + choices + fallback)}`;
}

function argument(of: Argument): string {
  const choices = of.argChoices ? ` One of ${of.argChoices.join(', ')}.` : '';
  return `.TP\n.I ${roff(of.name())}\n${roff(sentence(of.description) + choices)}`;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** Text that roff prints as it is: no line is a request, and a hyphen can be copied as an option. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll(/^([.'])/gm, '\\&$1');
}
