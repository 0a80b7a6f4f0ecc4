import { allCommands, type CommandModel, namesOf, type OptionModel, type ValueModel } from './model.js';

/** `__smartvm_at PATH N` tells whether the cursor is at operand N of that command; without N, where its options may be. */
export function fishCompletion(root: CommandModel): string {
  const commands = allCommands(root);
  const valued = commands.flatMap(({ path, options }) =>
    options.filter(({ value }) => value).flatMap((option) => namesOf(option).map((name) => `${path} ${name}`)),
  );
  const foreign = commands.filter((command) => command.foreign).map(({ path }) => path);
  return `# fish completion for ${root.name}, written by: ${root.name} completion fish
function __${root.name}_at
    set -l words (commandline -opc)
    set -e words[1]
    set -l command ${root.name}
    set -l operands 0
    set -l skip no
    set -l rest no
    for word in $words
        if test $skip = yes
            set skip no
            continue
        end
        if test $rest = yes
            set operands (math $operands + 1)
            continue
        end
        switch "$command $word"
            case ${list(commands.slice(1).map(({ path }) => path))}
                set command "$command $word"
            case ${list(valued)}
                set skip yes
            case '* --'
                set rest yes
            case '* -*'
            case '*'
                set operands (math $operands + 1)
                contains -- "$command" ${list(foreign)}; and set rest yes
        end
    end
    test "$command" = "$argv[1]"; or return 1
    test (count $argv) -gt 1; or begin
        test $rest = no
        return
    end
    string match -q -- "$argv[2]" $operands
end
complete -c ${root.name} -f
${commands.flatMap((command) => completionsOf(root, command)).join('\n')}
`;
}

function completionsOf(root: CommandModel, command: CommandModel): string[] {
  const at = (...where: string[]) =>
    `complete -c ${root.name} -n ${quoted(`__${root.name}_at ${[command.path, ...where].map(quoted).join(' ')}`)}`;
  const children = command.commands.map(({ name, description }) => `${at('0')} -a ${name} -d ${quoted(description)}`);
  const options = command.options.map((option) => `${at()} ${optionFlags(option)}`);
  const values = command.arguments.map((value, index) => {
    const flags = valueFlags(value);
    return flags === '' ? '' : `${at(value.variadic ? '*' : `${index}`)} ${flags}`;
  });
  return [...children, ...options, ...values.filter((line) => line !== '')];
}

function optionFlags({ short, long, description, value }: OptionModel): string {
  const names = [...(short ? [`-s ${short.slice(1)}`] : []), ...(long ? [`-l ${long.slice(2)}`] : [])];
  const wants = value ? [value.file ? '-r' : '-x', valueFlags(value)] : [];
  return [...names, '-d', quoted(description), ...wants].filter((flag) => flag !== '').join(' ');
}

function valueFlags({ choices, file }: ValueModel): string {
  return choices.length > 0 ? `-a ${quoted(choices.join(' '))}` : file ? '-F' : '';
}

function list(texts: readonly string[]): string {
  return texts.map(quoted).join(' ');
}

function quoted(text: string): string {
  return `'${text.replaceAll(/[\\']/g, '\\$&')}'`;
}
