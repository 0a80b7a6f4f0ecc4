import { allCommands, type CommandModel, namesOf, type ValueModel } from './model.js';

/** A script for bash 4 and later. `=` is a word of its own there. */
export function bashCompletion(root: CommandModel): string {
  const commands = allCommands(root);
  const valued = commands.flatMap(({ path, options }) =>
    options.flatMap((option) =>
      option.value ? [{ patterns: namesOf(option).map((name) => `${path} ${name}`), value: option.value }] : [],
    ),
  );
  const name = `_${root.name}`;
  return `# bash completion for ${root.name}, written by: ${root.name} completion bash
${name}() {
  local current=\${COMP_WORDS[COMP_CWORD]} command=${root.name} operands=0 option='' rest='' words='' files='' word i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ -n $option ]]; then
      [[ $word == = ]] || option=''
      continue
    fi
    case "$rest$command $word" in
${branch(
  commands.slice(1).map(({ path }) => path),
  'command+=" $word"',
)}
${branch(
  valued.flatMap(({ patterns }) => patterns),
  'option=$word',
)}
      *)
        if [[ -z $rest && $word == -- ]]; then
          rest='-- '
        elif [[ -n $rest || $word != -* ]]; then
          operands=$((operands + 1))
          case $command in
${branch(
  commands.filter(({ foreign }) => foreign).map(({ path }) => path),
  'return',
  12,
)}
          esac
        fi
        ;;
    esac
  done
  [[ $current == = ]] && current=''
  if [[ -n $option ]]; then
    case "$command $option" in
${valued
  .map(({ patterns, value }) => branch(patterns, assignment(value)))
  .filter(nonEmpty)
  .join('\n')}
    esac
  elif [[ -z $rest && $current == -* ]]; then
    case $command in
${commands.map(({ path, options }) => branch([path], `words=${quoted(options.flatMap(namesOf).join(' '))}`)).join('\n')}
    esac
  else
    case "$command $operands" in
${commands.flatMap(operandBranches).filter(nonEmpty).join('\n')}
    esac
  fi
  if [[ -n $files ]]; then
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  elif [[ -n $words ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  fi
}
complete -F ${name} ${root.name}
`;
}

function operandBranches({ path, commands, arguments: values }: CommandModel): string[] {
  const names = commands.map(({ name }) => name).join(' ');
  const own = values.map((value, index) => {
    const pattern = value.variadic ? `${quoted(`${path} `)}*` : quoted(`${path} ${index}`);
    return rawBranch([pattern], assignment(value));
  });
  return names === '' ? own : [branch([`${path} 0`], `words=${quoted(names)}`)];
}

function assignment({ choices, file }: ValueModel): string {
  return choices.length > 0 ? `words=${quoted(choices.join(' '))}` : file ? 'files=1' : '';
}

function branch(patterns: readonly string[], action: string, indent = 6): string {
  return rawBranch(patterns.map(quoted), action, indent);
}

function rawBranch(patterns: readonly string[], action: string, indent = 6): string {
  return patterns.length > 0 && action !== '' ? `${' '.repeat(indent)}${patterns.join(' | ')}) ${action} ;;` : '';
}

const nonEmpty = (text: string) => text !== '';

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
