import { describe, expect, test } from 'vitest';
import { countsOf, renderJson, renderTable } from '../../../ts/cli/findings.js';
import type { Finding } from '../../../ts/doctor/finding.js';

const PLAIN = { columns: Number.POSITIVE_INFINITY, colors: false };
const KVM: Finding = { id: 'kvm', area: 'host', title: 'KVM', verdict: 'ok', detail: '/dev/kvm opens' };
const SWAP: Finding = {
  id: 'swap',
  area: 'production',
  title: 'Swap',
  verdict: 'warn',
  detail: "/dev/sda2: guests' memory may be written there",
  remedy: 'swapoff -a, and remove it from /etc/fstab',
};
const userOf = (vm: string): Finding => ({
  id: 'vm-user',
  area: 'vms',
  title: 'User',
  verdict: 'fail',
  detail: 'it runs as root',
  vm,
});

describe('the table of findings', () => {
  test('goes by area, with remedies below and the sum at the end', () => {
    expect(renderTable([KVM, SWAP, userOf('a')], false, PLAIN)).toBe(
      [
        'Host',
        '  ✓ KVM   /dev/kvm opens',
        '',
        'Production hosts',
        "  ! Swap  /dev/sda2: guests' memory may be written there",
        '          → swapoff -a, and remove it from /etc/fstab',
        '',
        'VMs',
        '  ✗ User  a: it runs as root',
        '',
        '1 ok, 0 to know, 1 warning, 1 failed.',
      ].join('\n'),
    );
  });

  test.each([30, 50, 63, 64, 80, 100])('fits %i columns', (columns) => {
    const long = { ...SWAP, detail: `${'x'.repeat(150)} ${SWAP.detail.repeat(5)}`, remedy: 'y '.repeat(150) };
    const lines = renderTable([KVM, long], true, { columns, colors: false }).split('\n');
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(columns);
    expect(lines.join('').replaceAll(' ', '')).toContain('x'.repeat(150));
  });

  test('says of VMs alike what is said of all once', () => {
    const table = (ids: string[]) => renderTable(ids.map(userOf), false, PLAIN);
    expect(table(['a', 'b', 'c', 'd'])).toContain('User  a, b, c, d: it runs as root');
    expect(table(['a', 'b', 'c', 'd', 'e'])).toContain('User  a, b, c and 2 more: it runs as root');
    expect(table(['a', 'b', 'c', 'd', 'e'])).toContain('5 failed');
  });

  test('has colours only where they are wanted', () => {
    expect(renderTable([KVM], true, { columns: 80, colors: true })).toContain('\u001b[32m✓\u001b[0m');
    expect(renderTable([KVM], true, { columns: 80, colors: false })).not.toContain('\u001b');
  });

  test('spells out what would drive the terminal', () => {
    const hostile = { ...SWAP, detail: '/dev/\u001b]0;x\u0007\u009b2J\nnext', remedy: 'rm \u001b[2J' };
    const table = renderTable([hostile], true, PLAIN);
    expect(table).toContain('/dev/\\x1b]0;x\\x07\\x9b2J next');
    expect(table).toContain('→ rm \\x1b[2J');
  });

  test('says of warnings alone why they are failures', () => {
    expect(renderTable([SWAP], false, PLAIN)).toMatch(/0 failed\. On a production host, warnings are failures\.$/);
    expect(renderTable([SWAP], true, PLAIN)).toMatch(/SmartVM works here\. Mind the warnings/);
  });
});

describe('the document', () => {
  test('has all of the findings and their counts', () => {
    const findings = [KVM, SWAP, userOf('a')];
    const document = { healthy: false, counts: { ok: 1, info: 0, warn: 1, fail: 1 }, findings };
    expect(JSON.parse(renderJson(findings, false))).toEqual(document);
    expect(countsOf([])).toEqual({ ok: 0, info: 0, warn: 0, fail: 0 });
  });

  test('has no control character but those between lines', () => {
    const hostile = { ...SWAP, detail: 'a\u001b[2J\u009b2J\u007f' };
    const text = renderJson([hostile], true);
    expect(text.replaceAll('\n', '')).toMatch(/^[ -~]*$/);
    expect(JSON.parse(text).findings).toEqual([hostile]);
  });
});
