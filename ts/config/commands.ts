import { isSafeKey } from '../util/safe-json.js';
import { assertOptions } from './validation/assert-options.js';
import { type Check, isRecord, list, object, rule, text } from './validation/checks.js';

/** What the commands of a VM have in common, and the one that it is for. */
export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly user?: string | undefined;
  readonly cwd?: string | undefined;
  readonly command?: readonly string[] | undefined;
  /** What the guest calls itself. */
  readonly hostname?: string | undefined;
}

/** With the rest of its configuration, the agent reads 1 MiB. */
const MAX_ENV_BYTES = 512 * 1024;
/** As the kernel has it for one argument or variable (MAX_ARG_STRLEN). */
const MAX_ARGUMENT_BYTES = 131_071;

/** True for what can be the name of an environment variable. */
export function isVariableName(name: string): boolean {
  return name !== '' && !/[=\0]/.test(name) && isSafeKey(name);
}

const value = text({ minBytes: 0, maxBytes: MAX_ARGUMENT_BYTES });

const env: Check = (input, path, report) => {
  if (!isRecord(input)) {
    report(path, 'must be an object');
    return;
  }
  for (const [name, content] of Object.entries(input)) {
    const place = `${path}[${JSON.stringify(name.slice(0, 64))}]`;
    value(content, place, report);
    if (!isVariableName(name)) {
      report(place, 'must have a name without = and NUL');
    }
  }
  if (Buffer.byteLength(JSON.stringify(input)) > MAX_ENV_BYTES) {
    report(path, `must be at most ${MAX_ENV_BYTES} bytes`);
  }
};

const options = object<CommandOptions>({
  env,
  user: text({ maxBytes: 64 }),
  cwd: rule(
    (path) => path.startsWith('/') && path.length < 4096 && !path.includes('\0'),
    'must be a path from the root on',
  ),
  command: list(value, 1),
  // Linux takes no longer one (sethostname(2)), and with any other character it is no name of a host.
  hostname: rule(
    (name) => /^(?=.{1,64}$)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$/.test(name),
    'must be 1 to 64 letters, digits, hyphens, underscores or dots, with no hyphen or dot first or last',
  ),
});

/** @throws SmartVMError INVALID_OPTION with every problem */
export function assertCommandOptions({ env, user, cwd, command, hostname }: CommandOptions): void {
  assertOptions(options, { env, user, cwd, command, hostname }, 'VM');
}
