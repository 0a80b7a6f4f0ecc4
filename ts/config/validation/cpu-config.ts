import type { ICpuConfig, ICpuidModifier, IRegisterModifier, IVcpuFeature } from '../device-types.js';
import { type Check, integer, list, object, oneOf, rule } from './checks.js';

const MAX_U32 = 2n ** 32n - 1n;
const MAX_U64 = 2n ** 64n - 1n;

/** An unsigned number in a string, as Firecracker reads it: decimal, `0x…` or `0b…`, and no sign. */
function numeral(max: bigint): Check {
  const fits = (value: string) => /^(?:0x[0-9a-f]+|0b[01]+|[0-9]+)$/i.test(value) && BigInt(value.toLowerCase()) <= max;
  return rule(fits, `must be a number in a string, decimal, 0x… or 0b…, of at most ${max.toString(2).length} bits`);
}

/** Bits from the highest that is given: `0` clears, `1` sets, `x` leaves; `_` may part them. */
function bitmap(maxBits: number): Check {
  const fits = (value: string) => /^0b[01x_]+$/.test(value) && value.slice(2).replaceAll('_', '').length <= maxBits;
  return rule(fits, `must be '0b' and at most ${maxBits} of '0', '1' and 'x'`);
}

const capability = rule(
  (value) => /^!?\d{1,10}$/.test(value) && BigInt(value.replace('!', '')) <= MAX_U32,
  "must be the number of a KVM capability in a string, with a '!' before it to remove the check",
);

const cpuidModifier = object<ICpuidModifier>(
  {
    leaf: numeral(MAX_U32),
    subleaf: numeral(MAX_U32),
    flags: integer(0, Number(MAX_U32)),
    modifiers: list(
      object<ICpuidModifier['modifiers'][number]>({ register: oneOf('eax', 'ebx', 'ecx', 'edx'), bitmap: bitmap(32) }, [
        'register',
        'bitmap',
      ]),
    ),
  },
  ['leaf', 'subleaf', 'flags', 'modifiers'],
);

const registerModifier = (maxAddress: bigint, bits: number) =>
  object<IRegisterModifier>({ addr: numeral(maxAddress), bitmap: bitmap(bits) }, ['addr', 'bitmap']);

/** Which of its parts belong to this CPU, the VMM knows. */
export const cpuConfig: Check = object<ICpuConfig>({
  kvmCapabilities: list(capability),
  cpuidModifiers: list(cpuidModifier),
  msrModifiers: list(registerModifier(MAX_U32, 64)),
  regModifiers: list(registerModifier(MAX_U64, 128)),
  vcpuFeatures: list(
    object<IVcpuFeature>({ index: integer(0, Number(MAX_U32)), bitmap: bitmap(32) }, ['index', 'bitmap']),
  ),
});
