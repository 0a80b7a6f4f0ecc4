import type { Decoder } from './decoder.js';
import { described, isFloat, refuse } from './refusal.js';

/** An unsigned integer of `bits`, called `name` in refusals. Above 2^53 it is rounded to the nearest double. */
function unsigned(name: string, bits: bigint): Decoder<number> {
  const limit = 1n << bits;
  return {
    read(json) {
      if (!/[-0-9]/.test(json.peek())) {
        return refuse(json, name);
      }
      const text = json.number();
      if (isFloat(text)) {
        throw json.error(`invalid type: ${described(text)}, expected ${name}`);
      }
      const value = BigInt(text);
      if (value < 0n || value >= limit || text.startsWith('-')) {
        throw json.error(`invalid value: ${described(text)}, expected ${name}`);
      }
      return Number(value);
    },
  };
}

export const u8 = unsigned('u8', 8n);
export const u16 = unsigned('u16', 16n);
export const u32 = unsigned('u32', 32n);
export const u64 = unsigned('u64', 64n);
export const usize = unsigned('usize', 64n);
