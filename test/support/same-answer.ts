import type { RawAnswer, Step } from './raw-vmm.js';

const PARSER = 'deserializing the json body of a request:';
/** What each VMM says of itself. */
const OWN_NAMES = ['vmm_version', 'app_name', 'firecracker_version'];

/**
 * What of an answer must be the same on every VMM: the status; a fault word for word, up to the words of the JSON parser; anything else as JSON, with the
 * devices of a VM in any order.
 */
function comparable({ status, text }: RawAnswer): unknown {
  if (text === null) {
    return { status };
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { status, text: text.replaceAll(/\s+/g, ' ').replace(/size \d+/, 'size') }; // of a body with other white space
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { status, value };
  }
  const { fault_message: fault, ...rest } = value as Record<string, unknown>;
  if (typeof fault === 'string') {
    const parserWords = fault.indexOf(PARSER);
    return { status, fault: parserWords < 0 ? fault : fault.slice(0, parserWords + PARSER.length) };
  }
  const entries = Object.entries(rest).filter(([key]) => !OWN_NAMES.includes(key));
  return { status, value: Object.fromEntries(entries.map(([key, entry]) => [key, sorted(entry)])) };
}

function sorted(value: unknown): unknown {
  return Array.isArray(value) ? value.toSorted((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b))) : value;
}

/** Undefined when both answers are the same; else both, side by side, with the request. */
export function difference(step: Step, expected: RawAnswer, actual: RawAnswer): string | undefined {
  if (JSON.stringify(comparable(expected)) === JSON.stringify(comparable(actual))) {
    return undefined;
  }
  return [
    `${step.method} ${step.path} ${step.body === null ? '' : JSON.stringify(step.body).slice(0, 200)}`,
    `  expected ${expected.status} ${shown(expected)}`,
    `  actual   ${actual.status} ${shown(actual)}`,
  ].join('\n');
}

const shown = ({ text }: RawAnswer) => (text ?? '').slice(0, 1500);
