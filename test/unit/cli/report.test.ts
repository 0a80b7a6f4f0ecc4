import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { reportWarnings } from '../../../ts/cli/report.js';

let stderr = '';
const others = vi.fn();

beforeEach(() => {
  stderr = '';
  vi.spyOn(console, 'error').mockImplementation((text) => {
    stderr += `${text}\n`;
  });
  process.on('warning', others);
});

afterEach(() => {
  process.off('warning', others);
  others.mockReset();
  vi.restoreAllMocks();
});

test("SmartVM's own warnings are a line each; others go where they went before", async () => {
  const before = process.listeners('warning');
  {
    await using _warnings = reportWarnings();
    process.emitWarning('mind \u001b[2J this', { code: 'SMARTVM_UNJAILED' });
    process.emitWarning('of another', { code: 'OTHER' });
  }
  expect(stderr).toBe('smartvm: warning: mind \\x1b[2J this [SMARTVM_UNJAILED]\n');
  expect(others.mock.calls).toMatchObject([[{ code: 'OTHER' }]]);
  expect(process.listeners('warning')).toEqual(before);
});
