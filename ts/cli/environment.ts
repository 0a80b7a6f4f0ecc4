import { readFileSync } from 'node:fs';
import { isVariableName } from '../config/commands.js';
import { quote } from '../config/ids.js';
import { SmartVMError } from '../errors.js';
import { isSafeKey } from '../util/safe-json.js';

/** What `--env-file` and `--env` say, in this order; the later wins. */
export interface EnvironmentOptions {
  readonly env?: readonly string[];
  readonly envFile?: readonly string[];
}

/**
 * The variables that the options name. A name without a value takes this program's, and is left out where that has none.
 * @throws SmartVMError INVALID_OPTION
 */
export function environmentOf({ env = [], envFile = [] }: EnvironmentOptions): Record<string, string> {
  const inFiles = envFile.flatMap((path) => linesOf(path));
  const variables = [...inFiles, ...env.map((text) => ({ text, where: '--env' }))];
  return Object.fromEntries(
    variables.flatMap(({ text, where }) => {
      const [, name = text, value = process.env[name]] = /^([^=]*)=(.*)$/s.exec(text) ?? [];
      if (!isVariableName(name) || (where !== '--env' && /\s/.test(name))) {
        throw new SmartVMError('INVALID_OPTION', `${where}: ${quote(name)} cannot be the name of a variable`);
      }
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

/** Lines of NAME=VALUE or NAME; there are no quotes in them. Empty ones and those that begin with # say nothing. */
function linesOf(path: string): { text: string; where: string }[] {
  let content: string;
  try {
    content = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new SmartVMError('INVALID_OPTION', `--env-file: ${(cause as Error).message}`, { cause });
  }
  return content
    .replace(/^\ufeff/, '')
    .split(/\r?\n/)
    .map((line, index) => ({ text: line.trimStart(), where: `--env-file ${path}:${index + 1}` }))
    .filter(({ text }) => text !== '' && !text.startsWith('#'));
}

/** `--label key=value`, or `key` for one without a value. @throws SmartVMError INVALID_OPTION */
export function labelsOf(texts: readonly string[] = []): Record<string, string> | undefined {
  const labels = texts.map((text): [string, string] => {
    const [, name = text, value = ''] = /^([^=]*)=(.*)$/s.exec(text) ?? [];
    if (name === '' || !isSafeKey(name)) {
      throw new SmartVMError('INVALID_OPTION', `--label: ${quote(text)} has no name that a label can have`);
    }
    return [name, value];
  });
  return labels.length === 0 ? undefined : Object.fromEntries(labels);
}
