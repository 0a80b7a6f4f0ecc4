import { allCommands, type CommandModel, namesOf, type OptionModel, type ValueModel } from './model.js';

/** A script that is both for `source <(…)` and for a file `_smartvm` in a folder of $fpath. */
export function zshCompletion(root: CommandModel): string {
  const name = functionOf(root);
  return `#compdef ${root.name}
# zsh completion for ${root.name}, written by: ${root.name} completion zsh
${allCommands(root).map(commandFunction).join('\n')}
if [[ $funcstack[1] == ${name} ]]; then
  ${name} "$@"
else
  compdef ${name} ${root.name}
fi
`;
}

function commandFunction(command: CommandModel): string {
  const specs = [...command.options.map(optionSpec), ...operandSpecs(command)];
  const call = `_arguments -C -s -S \\\n    ${specs.join(' \\\n    ')}`;
  if (command.commands.length === 0) {
    return `${functionOf(command)}() {\n  ${call}\n}`;
  }
  const described = command.commands.map(({ name, description }) => quoted(`${escaped(name)}:${description}`));
  return `${functionOf(command)}() {
  local curcontext="$curcontext" state
  local -a line commands
  ${call}
  case $state in
    command)
      commands=(
        ${described.join('\n        ')}
      )
      _describe -t commands command commands
      ;;
    rest)
      case $line[1] in
${command.commands.map((child) => `        ${child.name}) ${functionOf(child)} ;;`).join('\n')}
      esac
      ;;
  esac
}`;
}

/** `(-i --interactive)`{-i,--interactive}`[description]:value:action`, or the short form where there is one name. */
function optionSpec(option: OptionModel): string {
  const names = namesOf(option);
  const value = option.value ? `:${valueSpec(option.value)}` : '';
  const text = `[${escaped(option.description)}]${value}`;
  const spelt = names.map((name) => (option.value ? `${name}${name.startsWith('--') ? '=' : '+'}` : name));
  return spelt.length === 1
    ? quoted(`${spelt[0]}${text}`)
    : `${quoted(`(${names.join(' ')})`)}{${spelt.join(',')}}${quoted(text)}`;
}

function operandSpecs({ commands, foreign, arguments: values }: CommandModel): string[] {
  if (commands.length > 0) {
    return ["'(-): :->command'", "'(-)*:: :->rest'"];
  }
  return values.map((value, index) => {
    const place = foreign ? '(-)*' : value.variadic ? '*' : `${index + 1}`;
    return quoted(`${place}:${valueSpec(value)}`);
  });
}

/** A space for an action means: something has to follow, and nothing is known of it. */
function valueSpec({ name, choices, file }: ValueModel): string {
  return `${escaped(name)}:${choices.length > 0 ? `(${choices.map(escaped).join(' ')})` : file ? '_files' : ' '}`;
}

function functionOf({ path }: CommandModel): string {
  return `_${path.replaceAll(/[ -]/g, '_')}`;
}

function escaped(text: string): string {
  return text.replaceAll(/[\\:[\]]/g, '\\$&');
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
