import { describe, expect, it } from 'vitest';
import { machineConfig, networkInterface, vmState } from '../../../ts/qemu/api/bodies.js';
import { type Decoder, decode } from '../../../ts/qemu/api/decoder.js';
import { jsonText, jsonValue } from '../../../ts/qemu/api/json-value.js';

const decoded = <T>(decoder: Decoder<T>, text: string) => decode(decoder, Buffer.from(text));

const MACHINE = {
  vcpu_count: 1,
  mem_size_mib: 128,
  smt: false,
  cpu_template: null,
  track_dirty_pages: false,
  huge_pages: 'None',
};

describe('decode', () => {
  it.each([
    ['{"vcpu_count": 1, "mem_size_mib": 128}'],
    ['{"vcpu_\\u0063ount": 1, "mem_size_mib": 128, "cpu_template": null}'],
    ['[1, 128]'],
    ['[1, 128, false, null, false, {"None": null}]'],
  ])('takes %s', (text) => {
    expect(decoded(machineConfig, text)).toEqual(MACHINE);
  });

  // What Firecracker 1.17.0-dev answered to the same bodies of PUT /machine-config.
  it.each([
    ['', 'EOF while parsing a value at line 1 column 0'],
    ['null', 'invalid type: null, expected struct MachineConfig at line 1 column 4'],
    ['{"vcpu_count": 1}', 'missing field `mem_size_mib` at line 1 column 17'],
    ['{"vcpu_count": "1"', 'invalid type: string "1", expected u8 at line 1 column 18'],
    ['{"vcpu_count":256', 'invalid value: integer `256`, expected u8 at line 1 column 17'],
    ['{"vcpu_count":-0}', 'invalid type: floating point `-0.0`, expected u8 at line 1 column 16'],
    ['{"vcpu_count":01}', 'invalid number at line 1 column 16'],
    [
      '{"vcpu_count": 1, "mem_size_mib": 128, "nope": 1}',
      'unknown field `nope`, expected one of `vcpu_count`, `mem_size_mib`, `smt`, `cpu_template`, `track_dirty_pages`, `huge_pages` at line 1 column 45',
    ],
    ['{"vcpu_count":1,"vcpu_count":2}', 'duplicate field `vcpu_count` at line 1 column 28'],
    ['{not json', 'key must be a string at line 1 column 2'],
    ['{"vcpu_count":1,}', 'trailing comma at line 1 column 17'],
    ['{"vcpu_count":1,"mem_size_mib":128} x', 'trailing characters at line 1 column 37'],
    ['[1,128,false,null,false,"None",3]', 'trailing characters at line 1 column 32'],
    ['{"smt":null}', 'invalid type: null, expected a boolean at line 1 column 11'],
    ['{"vcpu_count":"\\ud800"}', 'unexpected end of hex escape at line 1 column 22'],
  ])('refuses %s in serde_json’s words', (text, message) => {
    expect(() => decoded(machineConfig, text)).toThrow(expect.objectContaining({ name: 'JsonError', message }));
  });

  it('counts lines, and columns from the last of them', () => {
    expect(() => decoded(machineConfig, '\n{\n "x": 1}')).toThrow(/at line 3 column 4$/);
  });

  it('refuses a variant that there is not, and takes the two spellings of one that there is', () => {
    expect(() => decoded(vmState, '{"state": "Stopped"}')).toThrow(
      'unknown variant `Stopped`, expected `Paused` or `Resumed` at line 1 column 19',
    );
    expect(decoded(vmState, '{"state": "Paused"}')).toEqual(decoded(vmState, '{"state": {"Paused": null}}'));
  });

  it('places the refusal of a value of its own kind behind the object', () => {
    const text = '{"iface_id": "eth2", "host_dev_name": "svrec1", "guest_mac": "not-a-mac"}';
    expect(() => decoded(networkInterface, text)).toThrow('The provided MAC address is invalid. at line 1 column 73');
  });

  it('normalises a MAC address', () => {
    const text = '{"iface_id": "a", "host_dev_name": "b", "guest_mac": "AA:bb:0C:dd:ee:ff"}';
    expect(decoded(networkInterface, text).guest_mac).toBe('aa:bb:0c:dd:ee:ff');
  });

  it('does not nest without end, and takes __proto__ for a name', () => {
    expect(() => decoded(jsonValue, '['.repeat(100_000))).toThrow(/^recursion limit exceeded/);
    const text = '{"__proto__":{"polluted":true}}';
    expect(jsonText(decoded(jsonValue, text))).toBe(text);
    expect('polluted' in {}).toBe(false);
  });
});
