import { describe, expect, it } from 'vitest';
import { decode } from '../../../ts/qemu/api/decoder.js';
import { jsonText, jsonValue } from '../../../ts/qemu/api/json-value.js';
import { checkMmdsNetwork } from '../../../ts/qemu/mmds/network-stack.js';
import { MmdsStore } from '../../../ts/qemu/mmds/store.js';

const value = (text: string) => decode(jsonValue, Buffer.from(text));

describe('jsonText', () => {
  it.each([
    ['{"b":1,"a":12345678901234567890,"2":0,"10":0}', '{"10":0,"2":0,"a":12345678901234567890,"b":1}'],
    ['[5.50, 1e3, -0.0, -0, 1e16, 1e15, 1.5e-5, 1e-7]', '[5.5,1000.0,-0.0,-0.0,1e16,1000000000000000.0,0.000015,1e-7]'],
    ['{"a":1,"a":2}', '{"a":2}'],
    ['"\\u00e9\\u0001"', '"é\\u0001"'],
    ['{"__proto__":{"x":null}}', '{"__proto__":{"x":null}}'],
  ])('writes %s as serde_json does', (text, written) => {
    expect(jsonText(value(text))).toBe(written);
  });
});

describe('MmdsStore', () => {
  // The examples of RFC 7396, appendix A, that begin with an object.
  it.each([
    ['{"a":"b"}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'],
    ['{"a":"b"}', '{"a":null}', '{}'],
    ['{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'],
    ['{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'],
    ['{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'],
    ['["a","b"]', '["c","d"]', '["c","d"]'],
    ['{"a":"b"}', '["c"]', '["c"]'],
    ['{"e":null}', '{"a":1}', '{"a":1,"e":null}'],
    ['[1,2]', '{"a":"b","c":null}', '{"a":"b"}'],
    ['{}', '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'],
  ])('%s patched with %s is %s', (before, patch, after) => {
    const store = new MmdsStore(1000);
    store.put(value(before));
    store.patch(value(patch));
    expect(store.text()).toBe(after);
  });

  it('cannot be patched before there is something in it', () => {
    const store = new MmdsStore(1000);
    expect(() => store.patch(value('{}'))).toThrow('MMDS error: The MMDS data store is not initialized.');
    expect(store.text()).toBe('{}');
  });

  it('keeps what it has when the next content is too large', () => {
    const store = new MmdsStore(10);
    store.put(value('{"a":"12"}'));
    const tooLarge = expect.objectContaining({ name: 'Fault', status: 413 });
    expect(() => store.put(value('{"a":"123"}'))).toThrow(tooLarge);
    expect(() => store.patch(value('{"b":1}'))).toThrow(tooLarge);
    expect(store.text()).toBe('{"a":"12"}');
  });
});

describe('checkMmdsNetwork', () => {
  const config = { version: 'V2', network_interfaces: ['a'], ipv4_address: null, imds_compat: false } as const;

  it.each(['169.254.0.1', '169.254.255.1', '1.1.1.1'])('refuses %s before anything else', (ipv4_address) => {
    expect(() => checkMmdsNetwork({ ...config, network_interfaces: [], ipv4_address }, [])).toThrow('link local');
  });

  it('has an address of its own', () => {
    expect(checkMmdsNetwork({ ...config, network_interfaces: ['a'] }, ['a'])).toBe('169.254.169.254');
  });
});
