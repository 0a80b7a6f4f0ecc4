import { converted, type Decoder, defaulted, list, struct } from './decoder.js';
import { u32 } from './integers.js';

/** The JSON body of `PUT /cpu-config` on this architecture. It is checked as Firecracker checks it. */

/** What Rust's integer parser says of digits of this base, by the name of its error; undefined when they are right. */
function parseProblem(
  digits: string,
  base: number,
  bits: number,
): 'Empty' | 'InvalidDigit' | 'PosOverflow' | undefined {
  const unsigned = digits.startsWith('+') && digits.length > 1 ? digits.slice(1) : digits;
  const allowed = { 2: /^[01]+$/, 10: /^[0-9]+$/, 16: /^[0-9a-f]+$/i }[base];
  if (unsigned === '') {
    return 'Empty';
  }
  if (!allowed?.test(unsigned)) {
    return 'InvalidDigit';
  }
  return Number.parseInt(unsigned, base) < 2 ** bits ? undefined : 'PosOverflow';
}

const PARSE_PROBLEMS = {
  Empty: 'cannot parse integer from empty string',
  InvalidDigit: 'invalid digit found in string',
  PosOverflow: 'number too large to fit in target type',
} as const;

const capabilityProblem = (text: string) => parseProblem(text.replace(/^!/, ''), 10, 32);

const kvmCapability = converted(
  (text) => (capabilityProblem(text) ? undefined : text),
  (text) =>
    `Failed to parse string [${text}] as a kvm capability - can not convert to numeric: ${PARSE_PROBLEMS[capabilityProblem(text) ?? 'Empty']}`,
);

const BASES: Readonly<Record<string, number>> = { '0b': 2, '0x': 16 };

/** A number written with its base: `0x10`, `0b10000`. */
function prefixedNumber(bits: number) {
  const problem = (text: string) => parseProblem(text.slice(2), BASES[text.slice(0, 2)] ?? 0, bits);
  return converted(
    (text) => (problem(text) ? undefined : text),
    (text) =>
      Object.hasOwn(BASES, text.slice(0, 2))
        ? `Failed to parse string [${text}] as a number for CPU template - ParseIntError { kind: ${problem(text)} }`
        : `No supported number system prefix found in value [${text}]. Make sure to prefix the number with '0x' for hexadecimal numbers or '0b' for binary numbers.`,
  );
}

/** A mask of `bits` digits 0, 1 or x, most significant first. */
function bitmap(bits: number) {
  const problem = (text: string): string | undefined => {
    const digits = Array.from(Buffer.from(text.replace(/^0b/, ''))).reverse();
    let count = 0;
    for (const byte of digits) {
      if (count === bits) {
        return 'string is too long';
      }
      if (!'_x01'.includes(String.fromCharCode(byte))) {
        return `unknown character: ${byte}`;
      }
      count += byte === 0x5f ? 0 : 1;
    }
    return undefined;
  };
  return converted(
    (text) => (problem(text) === undefined ? text : undefined),
    (text) => `Failed to parse string [${text}] as a bitmap - ${problem(text)}`,
  );
}

const cpuidRegister = converted(
  (text) => (['eax', 'ebx', 'ecx', 'edx'].includes(text) ? text : undefined),
  'Invalid CPUID register. Must be one of [eax, ebx, ecx, edx]',
);

const cpuidRegisterModifier = struct(
  'CpuidRegisterModifier',
  { register: cpuidRegister, bitmap: bitmap(32) },
  'ignore',
);

const cpuidLeafModifier = struct(
  'CpuidLeafModifier',
  { leaf: prefixedNumber(32), subleaf: prefixedNumber(32), flags: u32, modifiers: list(cpuidRegisterModifier) },
  'ignore',
);

const msrModifier = struct('RegisterModifier', { addr: prefixedNumber(32), bitmap: bitmap(64) }, 'ignore');

const x64Template = struct(
  'CustomCpuTemplate',
  {
    kvm_capabilities: defaulted(list(kvmCapability), []),
    cpuid_modifiers: defaulted(list(cpuidLeafModifier), []),
    msr_modifiers: defaulted(list(msrModifier), []),
  },
  'refuse',
);

const arm64Template = struct(
  'CustomCpuTemplate',
  {
    kvm_capabilities: defaulted(list(kvmCapability), []),
    vcpu_features: defaulted(list(struct('VcpuFeatures', { index: u32, bitmap: bitmap(32) }, 'ignore')), []),
    reg_modifiers: defaulted(
      list(struct('RegisterModifier', { addr: prefixedNumber(64), bitmap: bitmap(128) }, 'ignore')),
      [],
    ),
  },
  'refuse',
);

export const cpuTemplate: Decoder<unknown> = process.arch === 'arm64' ? arm64Template : x64Template;
