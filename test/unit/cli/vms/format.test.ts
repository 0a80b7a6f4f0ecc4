import { stripVTControlCharacters } from 'node:util';
import { describe, expect, test } from 'vitest';
import { parseFormat, renderRows } from '../../../../ts/cli/vms/format.js';

const ROWS = [
  { id: 'vm-1', name: null, labels: { tier: 'web', odd: 'a\u009bb' }, config: { vcpuCount: 2 }, exit: undefined },
  { id: 'vm-20', name: 'db', labels: {}, config: {}, exit: undefined },
];
const COLUMNS = [
  { title: 'VM ID', text: ({ id }: (typeof ROWS)[0]) => id },
  { title: 'CPUS', text: ({ config }: (typeof ROWS)[0]) => String(config.vcpuCount ?? ''), right: true },
  { title: 'NAME', text: ({ name }: (typeof ROWS)[0]) => name ?? '', color: () => 31 },
];
const PLAIN = { columns: Number.POSITIVE_INFINITY, colors: false, isTerminal: false };
const TERMINAL = { columns: 80, colors: true, isTerminal: true };

const render = (format: string | undefined, style = PLAIN) => renderRows(parseFormat(format), COLUMNS, ROWS, style);

function problemOf(format: string): string {
  try {
    render(format);
    return '';
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    expect(code).toBe('INVALID_OPTION');
    return message;
  }
}

describe('--format', () => {
  test.each([undefined, 'table'])('%s: columns as wide as what is in them', (format) => {
    expect(render(format)).toEqual(['VM ID   CPUS   NAME', 'vm-1       2   ', 'vm-20          db']);
  });

  test('table: colours take no room', () => {
    const lines = render('table', TERMINAL);
    expect(lines[2]).toBe('vm-20          \u001b[31mdb\u001b[0m');
    expect(lines.map((line) => stripVTControlCharacters(line))).toEqual(render('table'));
  });

  test('table: what was written to a cell cannot leave it', () => {
    const columns = [{ title: 'A', text: () => '\u001b[2J\n\tb' }];
    expect(renderRows(parseFormat('table'), columns, [{}], TERMINAL)[1]).toBe('\\x1b[2J\\n\\tb');
  });

  test('json: a line each, which a terminal takes for text', () => {
    const lines = render('json', TERMINAL);
    expect(lines.map((line) => JSON.parse(line))).toEqual(ROWS.map(({ exit: _none, ...row }) => row));
    expect(lines.join('')).not.toContain('\u009b');
  });

  test.each([
    ['{{.ID}} is {{ .Name }}', ['vm-1 is ', 'vm-20 is db']],
    ['{{.Id}}\\t{{.Config.VcpuCount}}\\\\', ['vm-1\t2\\', 'vm-20\t<no value>\\']],
    ['{{json .Config}}', ['{"vcpuCount":2}', '{}']],
    ['{{json .Name}}', ['null', '"db"']],
    ['{{.Label "tier"}}{{.Label "toString"}}', ['web', '']],
    ['{{.Config.constructor}}', ['<no value>', '<no value>']],
    [
      'table {{.ID}}\\t{{.Config.VcpuCount}}/{{.Label "tier"}}',
      ['ID      VCPU COUNT/TIER', 'vm-1    2/web', 'vm-20   <no value>/'],
    ],
  ])('%s', (format, lines) => {
    expect(render(format)).toEqual(lines);
  });

  test('a template gives the bytes to a pipe, and spells them out on a terminal', () => {
    expect(render('{{.Label "odd"}}')[0]).toBe('a\u009bb');
    expect(render('{{.Label "odd"}}', TERMINAL)[0]).toBe('a\\x9bb');
  });

  test.each([
    ['{{.Nme}}', /no field \.Nme; there are id, name, labels/],
    ['{{if .ID}}x{{end}}', /"{{if \.ID}}" is not understood/],
    ['{{.ID', /never closes/],
  ])('%s is refused', (format, problem) => {
    expect(problemOf(format)).toMatch(problem);
  });
});
