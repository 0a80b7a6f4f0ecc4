import { quote } from '../../config/ids.js';
import { SmartVMError } from '../../errors.js';
import type { GuestAddress } from '../../guest/ports/address.js';
import type { Wait } from '../../guest/ready/types.js';
import { all, command, http, logLine, port } from '../../guest/ready/waits.js';

const WORD = /^(port|http|log|cmd):(.+)$/s;
const ADDRESS = /^(?:(?:\[([^\]]+)\]|([^:/]+)):)?(\d{1,5})(\/.*)?$/;

/** What the words of `--ready` mean, all of them together. @throws SmartVMError INVALID_OPTION */
export function readyWhenOf(words: readonly string[] | undefined): Wait | undefined {
  return words && all(words.map(waitOf));
}

function waitOf(text: string): Wait {
  const [, kind, what = ''] = WORD.exec(text) ?? [];
  switch (kind) {
    case 'log':
      return logLine(patternOf(what));
    case 'cmd':
      return command(what, { shell: true });
    case 'port':
      return port(what.startsWith('/') ? { path: what } : serverOf(what, text).address);
    case 'http': {
      const { address, path } = serverOf(what, text);
      return http({ ...address, path });
    }
    default:
      throw refusal(text);
  }
}

function serverOf(what: string, text: string) {
  const [whole, ipv6, name, port, path] = ADDRESS.exec(what) ?? [];
  if (whole === undefined || (path !== undefined && !text.startsWith('http:'))) {
    throw refusal(text);
  }
  return { address: { host: ipv6 ?? name, port: Number(port) } satisfies GuestAddress, path };
}

function patternOf(source: string): RegExp {
  try {
    return new RegExp(source);
  } catch (cause) {
    throw new SmartVMError('INVALID_OPTION', `--ready log: ${(cause as Error).message}`, { cause });
  }
}

function refusal(text: string): SmartVMError {
  const forms = "'port:8080', 'port:/run/some.sock', 'http:8080/healthz', 'log:listening on', 'cmd:pg_isready'";
  return new SmartVMError('INVALID_OPTION', `--ready ${quote(text)} is none of ${forms}`);
}
