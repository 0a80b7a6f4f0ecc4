import { readGuestAccess } from '../../guest/access.js';
import { linkSignals, withDeadline } from '../../util/deadline.js';
import { Redactor } from '../../util/redactor.js';
import { SOURCES, type Source } from './sources.js';
import type { Subject } from './subject.js';

/** What became of one source. */
export interface Collected {
  readonly name: string;
  readonly durationMs: number;
  /** Redacted. */
  readonly text?: string;
  /** Why it is not there, redacted: there is no such thing for this VM, or it could not be got. */
  readonly absent?: string;
  readonly failed?: string;
}

/** For each source: a VMM that hangs, or a file system, holds up no other. */
const SOURCE_MS = 5_000;

type Raw = Omit<Collected, 'text'> & { readonly value?: unknown };

/** Asks all sources side by side. Never rejects: what cannot be got says why. */
export async function collect(subject: Subject, sources: readonly Source[] = SOURCES): Promise<Collected[]> {
  const [secrets, raw] = await Promise.all([
    keysOf(subject),
    Promise.all(sources.map((source) => ask(source, subject))),
  ]);
  const redactor = new Redactor();
  for (const secret of secrets) {
    redactor.learn(secret);
  }
  for (const { value } of raw) {
    typeof value === 'string' || redactor.learnFrom(value); // of what a guest prints, nothing is taken for a name
  }
  return raw.map(({ value, failed, ...rest }) => ({
    ...rest,
    ...(value === undefined ? {} : { text: render(value, redactor) }),
    ...(failed === undefined ? {} : { failed: redactor.text(failed) }),
  }));
}

async function ask({ name, collect }: Source, subject: Subject): Promise<Raw> {
  const begin = performance.now();
  using linked = linkSignals([], SOURCE_MS);
  const took = () => ({ name, durationMs: Math.round(performance.now() - begin) });
  const late = () => new Error(`not within ${SOURCE_MS} ms`);
  try {
    const value = await withDeadline(collect(subject, linked.signal), SOURCE_MS, late);
    return value === undefined ? { ...took(), absent: 'this VM has none' } : { ...took(), value };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' ? { ...took(), absent: 'there is none' } : { ...took(), failed: message };
  }
}

/** They are in no source. Should a guest or a VMM have printed one, it is to be known. */
async function keysOf({ runtimeDir }: Subject): Promise<string[]> {
  const reading = withDeadline(readGuestAccess(runtimeDir), SOURCE_MS, () => new Error('late')).catch(() => undefined);
  const access = await reading;
  return access ? [access.keys.clientKey] : [];
}

function render(value: unknown, redactor: Redactor): string {
  return typeof value === 'string' ? redactor.text(value) : `${JSON.stringify(redactor.value(value), undefined, 2)}\n`;
}
