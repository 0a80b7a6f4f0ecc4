/** The command line did not follow the rules; `message` is Firecracker's. */
export class ArgumentError extends Error {
  override readonly name = 'ArgumentError';
}

interface ArgumentSpec {
  readonly value: boolean;
  readonly help: string;
  readonly fallback?: string;
  readonly requires?: string;
  readonly forbids?: string;
}

const value = (help: string, rules: Omit<ArgumentSpec, 'value' | 'help'> = {}): ArgumentSpec => ({
  value: true,
  help,
  ...rules,
});
const flag = (help: string, rules: Omit<ArgumentSpec, 'value' | 'help'> = {}): ArgumentSpec => ({
  value: false,
  help,
  ...rules,
});

/** Firecracker's arguments, in the order of its help. */
const ARGUMENTS = {
  'api-sock': value('Path to unix domain socket used by the API.', { fallback: '/run/firecracker.socket' }),
  'boot-timer': flag('Accepted; QEMU has no boot timer device.'),
  'config-file': value('Path to a file that contains the microVM configuration in JSON format.'),
  'describe-snapshot': value('Print the data format version of the provided snapshot state file.'),
  'enable-pci': flag('Accepted; devices are on PCI anyway.'),
  help: flag('Show the help message.'),
  'http-api-max-payload-size': value('Http API request payload max size, in bytes.', { fallback: '51200' }),
  id: value('MicroVM unique identifier.', { fallback: 'anonymous-instance' }),
  level: value('Set the logger level.'),
  'log-path': value('Path to a fifo or a file used for configuring the logger on startup.'),
  metadata: value('Path to a file that contains metadata in JSON format to add to the mmds.'),
  'metrics-path': value('Path to a fifo or a file used for configuring the metrics on startup.'),
  'mmds-size-limit': value('Mmds data store limit, in bytes.'),
  module: value('Set the logger module filter.'),
  'no-api': flag('Optional parameter which allows starting and using a microVM without an active API socket.', {
    requires: 'config-file',
  }),
  'no-seccomp': flag('Accepted; QEMU keeps its own sandbox.', { forbids: 'seccomp-filter' }),
  'parent-cpu-time-us': value('Accepted for the jailer.'),
  'seccomp-filter': value('Accepted; QEMU keeps its own sandbox.', { forbids: 'no-seccomp' }),
  'show-level': flag('Whether or not to output the level in the logs.'),
  'show-log-origin': flag('Whether or not to include the origin of a log line.'),
  'snapshot-version': flag('Print the supported data format version.'),
  'start-time-cpu-us': value('Accepted for the jailer.'),
  'start-time-us': value('Accepted for the jailer.'),
  version: flag('Print the version number.'),
} as const satisfies Record<string, ArgumentSpec>;

type ArgumentName = keyof typeof ARGUMENTS;

const SPECS: Readonly<Record<string, ArgumentSpec>> = ARGUMENTS;

/** What was given, and the defaults of what was not. */
export class Arguments {
  readonly #given: ReadonlyMap<string, string | true>;

  constructor(given: ReadonlyMap<string, string | true>) {
    this.#given = given;
  }

  /** The value of an argument: as given, its default, or undefined. */
  value(name: ArgumentName): string | undefined {
    const given = this.#given.get(name);
    return typeof given === 'string' ? given : SPECS[name]?.fallback;
  }

  flag(name: ArgumentName): boolean {
    return this.#given.has(name);
  }
}

/**
 * Reads a command line. `--help` and `--version` go before every other check, as they do in Firecracker.
 * @throws ArgumentError
 */
export function parseArguments(argv: readonly string[]): Arguments {
  const separator = argv.indexOf('--');
  const args = separator < 0 ? argv : argv.slice(0, separator);
  for (const [name, ...forms] of [
    ['help', '--help', '-h'],
    ['version', '--version'],
  ] as const) {
    if (forms.some((form) => args.includes(form))) {
      return new Arguments(new Map([[name, true]]));
    }
  }
  const given = collect(args);
  for (const name of [...given.keys()].sort()) {
    const { requires, forbids } = SPECS[name] ?? {};
    if (requires !== undefined && !given.has(requires)) {
      throw new ArgumentError(`Argument '${requires}' required, but not found.`);
    }
    if (forbids !== undefined && given.has(forbids)) {
      throw new ArgumentError(`Argument '${forbids}' cannot be used together with argument '${name}'.`);
    }
  }
  return new Arguments(given);
}

function collect(args: readonly string[]): Map<string, string | true> {
  const given = new Map<string, string | true>();
  for (let index = 0; index < args.length; index++) {
    const arg = args[index] ?? '';
    const name = arg.startsWith('--') ? arg.slice(2) : arg;
    if (!arg.startsWith('--') || !Object.hasOwn(SPECS, name) || name === 'help') {
      throw new ArgumentError(`Found argument '${name}' which wasn't expected, or isn't valid in this context.`);
    }
    if (given.has(name)) {
      throw new ArgumentError(`The argument '${name}' was provided more than once.`);
    }
    if (!SPECS[name]?.value) {
      given.set(name, true);
      continue;
    }
    const next = args[++index];
    if (next === undefined || next.startsWith('--')) {
      throw new ArgumentError(`The argument '${name}' requires a value, but none was supplied.`);
    }
    given.set(name, next);
  }
  return given;
}

/** The text of `--help`. */
export function helpText(): string {
  const rows = Object.entries(SPECS).map(([name, spec]) => {
    const form = spec.value ? `  --${name} <${name}>` : `  --${name}`;
    const fallback = spec.fallback === undefined ? '' : ` [default: "${spec.fallback}"]`;
    return [form, `${spec.help}${fallback}`] as const;
  });
  const width = Math.max(...rows.map(([form]) => form.length));
  return `optional arguments:\n${rows.map(([form, help]) => `${form.padEnd(width)}   ${help}`).join('\n')}`;
}
