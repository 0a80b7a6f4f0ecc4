import { assertOptions } from '../../config/validation/assert-options.js';
import {
  type Check,
  flag,
  integer,
  isRecord,
  list,
  object,
  oneOf,
  rule,
  text,
} from '../../config/validation/checks.js';
import { hostText, MAX_PORT, pathText } from '../ports/address.js';
import type {
  AgentWait,
  AllWait,
  CommandWait,
  HttpWait,
  LogLineWait,
  PortWait,
  ReadyOptions,
  Wait,
  WaitUntilOptions,
} from './types.js';

/** As far as a timer goes. */
const MAX_MS = 2 ** 31 - 1;
const MAX_TEXT_BYTES = 16 * 1024;
const MAX_ARGV_BYTES = 256 * 1024;
/** Of waits in waits. */
const MAX_DEPTH = 16;
/** RFC 9110, 5.1 and 5.5, of what Node.js sends. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~\w-]+$/;
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

const milliseconds = integer(1, MAX_MS);
const limited = { kind: text({ maxBytes: 16 }), timeoutMs: milliseconds };
const repeated = { ...limited, intervalMs: integer(0, MAX_MS), attemptTimeoutMs: milliseconds };

const match: Check = (value, path, report) => {
  if (!(value instanceof RegExp)) {
    text({ maxBytes: MAX_TEXT_BYTES })(value, path, report);
  }
};

const address: Check = (value, path, report) => {
  const isUnix = isRecord(value) && 'path' in value;
  const fields = isUnix
    ? object<{ path: string }>({ path: pathText }, ['path'])
    : object<{ port: number; host?: string }>({ port: integer(1, MAX_PORT), host: hostText }, ['port']);
  fields(value, path, report);
};

const status: Check = (value, path, report) => {
  const number = integer(100, 599);
  if (typeof value !== 'function') {
    Array.isArray(value) ? list(number, 1)(value, path, report) : number(value, path, report);
  }
};

const headers: Check = (value, path, report) => {
  if (!isRecord(value)) {
    report(path, 'must be an object');
    return;
  }
  for (const [name, content] of Object.entries(value)) {
    if (!HEADER_NAME.test(name) || typeof content !== 'string' || !HEADER_VALUE.test(content)) {
      report(`${path}[${JSON.stringify(name.slice(0, 64))}]`, 'must be a header that HTTP can carry');
    }
  }
};

const variables: Check = (value, path, report) => {
  if (!isRecord(value) || Object.values(value).some((content) => typeof content !== 'string')) {
    report(path, 'must be an object of strings');
  }
};

const httpFields = object<HttpWait>(
  {
    ...repeated,
    port: integer(1, MAX_PORT),
    host: hostText,
    socketPath: pathText,
    path: rule((path) => /^\/[!-~]*$/.test(path) && path.length <= 4096, 'must be a path of a URL, from its / on'),
    method: rule((method) => /^[A-Z]{1,16}$/.test(method), 'must be a method of HTTP, such as GET'),
    headers,
    status,
    body: match,
  },
  ['kind'],
);

const http: Check = (value, path, report) => {
  httpFields(value, path, report);
  if (isRecord(value) && (value.port === undefined) === (value.socketPath === undefined)) {
    report(path, 'must have either a port or a socketPath');
  }
};

const word = text({ minBytes: 0, maxBytes: MAX_ARGV_BYTES });
const commandFields = object<CommandWait>(
  {
    ...repeated,
    command: (value, path, report) => (typeof value === 'string' ? word : list(word, 1))(value, path, report),
    exitCode: integer(0, 255),
    shell: flag,
    cwd: text({ maxBytes: 4095 }),
    env: variables,
    user: text({ maxBytes: 64 }),
  },
  ['command'],
);

const command: Check = (value, path, report) => {
  commandFields(value, path, report);
  if (isRecord(value) && typeof value.command === 'string' && value.shell !== true) {
    report(`${path}.command`, "must be an argument vector, such as ['test', '-e', '/ready'], unless `shell` is true");
  }
};

function many(depth: number): Check {
  return object<AllWait>({ ...limited, waits: list(waitAt(depth + 1), 1) }, ['waits']);
}

const KINDS: Readonly<Record<Wait['kind'], (depth: number) => Check>> = {
  agent: () => object<AgentWait>(repeated, ['kind']),
  port: () => object<PortWait>({ ...repeated, address }, ['address']),
  http: () => http,
  'log-line': () => object<LogLineWait>({ ...limited, match, times: integer(1) }, ['match']),
  command: () => command,
  all: many,
  any: many,
};

function waitAt(depth: number): Check {
  return (value, path, report) => {
    if (!isRecord(value)) {
      report(path, 'must be a wait, as the functions of `ready` make them');
    } else if (typeof value.kind !== 'string' || !Object.hasOwn(KINDS, value.kind)) {
      oneOf(...Object.keys(KINDS))(value.kind, `${path}.kind`, report);
    } else if (depth > MAX_DEPTH) {
      report(path, `must not be more than ${MAX_DEPTH} waits deep`);
    } else {
      KINDS[value.kind as Wait['kind']](depth)(value, path, report);
    }
  };
}

const wait = waitAt(1);
const options = object<ReadyOptions>({ readyWhen: wait, readyTimeoutMs: milliseconds });

/** @throws SmartVMError INVALID_OPTION with every problem */
export function assertReadyOptions({ readyWhen, readyTimeoutMs }: ReadyOptions): void {
  assertOptions(options, { readyWhen, readyTimeoutMs }, 'readiness');
}

/** @throws SmartVMError INVALID_OPTION with every problem */
export function assertWait(value: Wait, { timeoutMs }: WaitUntilOptions): void {
  assertOptions(wait, value, 'wait');
  assertOptions(
    object<WaitUntilOptions>({ timeoutMs: milliseconds, signal: () => undefined }),
    { timeoutMs },
    'options',
  );
}
