import { readFile } from 'node:fs/promises';
import { decode } from './api/decoder.js';
import { parseLogLevel } from './api/device-bodies.js';
import { jsonValue } from './api/json-value.js';
import type { Arguments } from './arguments.js';
import type { Vmm } from './controller/vmm.js';
import { EXIT, FatalError } from './exit.js';
import { osErrorText } from './fault.js';

/** Sets up what the command line says of the log, the metrics and the MMDS. @throws FatalError */
export async function applyArguments(vmm: Vmm, args: Arguments): Promise<void> {
  const fatal = (what: string) => (error: Error) => {
    throw new FatalError(`${what}: ${error.message}`, EXIT.error);
  };
  const metricsPath = args.value('metrics-path');
  const metadata = args.value('metadata');
  await vmm.logger
    .configure({
      log_path: args.value('log-path') ?? null,
      level: checkedLevel(args.value('level')),
      show_level: args.flag('show-level') || null,
      show_log_origin: args.flag('show-log-origin') || null,
      module: args.value('module') ?? null,
    })
    .catch(fatal('Could not initialize logger'));
  if (metricsPath !== undefined) {
    await vmm.metrics
      .configure({ metrics_path: metricsPath, emit_id: false, properties: null })
      .catch(fatal('Could not initialize metrics'));
  }
  if (metadata !== undefined) {
    const content = await readInput(metadata, 'mmds content');
    try {
      vmm.resources.mmds.put(decode(jsonValue, content));
    } catch (error) {
      fatal('Populating MMDS from file failed')(error as Error);
    }
  }
}

/** @throws FatalError */
export async function readInput(path: string, what: 'configuration' | 'mmds content'): Promise<Buffer> {
  return await readFile(path).catch((cause) => {
    throw new FatalError(`Unable to open or read from the ${what} file: ${osErrorText(cause)}`, EXIT.badConfiguration);
  });
}

/** A number of bytes. @throws FatalError */
export function byteLimit(args: Arguments, name: 'http-api-max-payload-size' | 'mmds-size-limit'): number | undefined {
  const text = args.value(name);
  if (text === undefined) {
    return undefined;
  }
  const limit = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(limit)) {
    throw new FatalError(`'${name}' parameter expected to be of 'usize' type.`, EXIT.error);
  }
  return limit;
}

function checkedLevel(text: string | undefined) {
  const level = text === undefined ? null : parseLogLevel(text);
  if (level === undefined) {
    throw new FatalError(
      `Invalid value for logger level: Failed to parse string to level filter: ${text}.Possible values: [Error, Warning, Info, Debug]`,
      EXIT.badConfiguration,
    );
  }
  return level;
}
