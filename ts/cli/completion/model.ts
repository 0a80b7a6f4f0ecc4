import type { Argument, Command, Option } from 'commander';

/** What may stand for the value of an option or argument. */
export interface ValueModel {
  readonly name: string;
  readonly choices: readonly string[];
  /** A path on this host. */
  readonly file: boolean;
  readonly variadic: boolean;
}

export interface OptionModel {
  readonly short: string | undefined;
  readonly long: string | undefined;
  readonly description: string;
  readonly value: ValueModel | undefined;
}

/** A command as completion needs it: what commander's help shows of it, and no more. */
export interface CommandModel {
  readonly name: string;
  /** With the names of its parents. */
  readonly path: string;
  readonly description: string;
  readonly options: readonly OptionModel[];
  readonly arguments: readonly ValueModel[];
  readonly commands: readonly CommandModel[];
  /** Its operands are the command line of another program: of that nothing is known here. */
  readonly foreign: boolean;
}

const FILE_NAME = /path|file|dir/i;

export function commandModel(command: Command, parent?: CommandModel): CommandModel {
  const help = command.createHelp();
  const path = parent ? `${parent.path} ${command.name()}` : command.name();
  const own: CommandModel = {
    name: command.name(),
    path,
    description: command.description(),
    options: help.visibleOptions(command).map(optionModel),
    arguments: command.registeredArguments.map(argumentModel),
    commands: [],
    foreign: command.registeredArguments.some((argument) => argument.variadic && argument.name() === 'command'),
  };
  const commands = help.visibleCommands(command).map((child) => commandModel(child, own));
  const names = commands.map(({ name }) => name);
  // The help command takes the name of a command beside it.
  const helped = commands.map((child) => (child.name === 'help' ? withChoices(child, names) : child));
  return { ...own, commands: helped };
}

/** The command and all below it. */
export function allCommands(command: CommandModel): CommandModel[] {
  return [command, ...command.commands.flatMap(allCommands)];
}

export function namesOf({ short, long }: OptionModel): string[] {
  return [short, long].filter((name) => name !== undefined);
}

function optionModel(option: Option): OptionModel {
  const takesValue = option.required || option.optional;
  const name = /[<[](.+?)(?:\.\.\.)?[>\]]/.exec(option.flags)?.[1] ?? '';
  const value = { name, choices: option.argChoices ?? [], file: FILE_NAME.test(name), variadic: option.variadic };
  const { short, long, description } = option;
  return { short, long, description, value: takesValue ? value : undefined };
}

function argumentModel(argument: Argument): ValueModel {
  const name = argument.name();
  return { name, choices: argument.argChoices ?? [], file: FILE_NAME.test(name), variadic: argument.variadic };
}

function withChoices(command: CommandModel, choices: readonly string[]): CommandModel {
  return { ...command, arguments: command.arguments.map((argument) => ({ ...argument, choices })) };
}
