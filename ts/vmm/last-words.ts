import { join } from 'node:path';
import { SmartVMError } from '../errors.js';
import { tailLines } from './tail.js';

const TAIL_LINES = 50;
const VMM_LINES_SHOWN = 10;

/** The last lines of a VM's console, as its keeper has kept them. */
export async function consoleTailOf(runtimeDir: string, lines = TAIL_LINES): Promise<string[]> {
  const path = join(runtimeDir, 'console.log');
  const tail = await tailLines(path, lines);
  const earlier = tail.length < lines ? await tailLines(`${path}.1`, lines - tail.length) : [];
  return [...earlier, ...tail];
}

/** An error about a VMM, with the last lines of its output and of the guest's console. */
export async function withLastWords(
  vmm: { readonly id: string; readonly runtimeDir: string },
  code: 'VMM_EXITED' | 'BOOT_TIMEOUT' | 'INIT_FAILED' | 'READY_TIMEOUT',
  what: string,
  consoleTail: readonly string[],
  details: object = {},
): Promise<SmartVMError> {
  const { id, runtimeDir } = vmm;
  const vmmTail = await tailLines(join(runtimeDir, 'vmm.log'), TAIL_LINES);
  const lines = [...vmmTail.slice(-VMM_LINES_SHOWN), ...(consoleTail.length > 0 ? ['console:', ...consoleTail] : [])];
  const said = lines.length > 0 ? `\n${lines.map((line) => `  ${line}`).join('\n')}` : '; it printed nothing';
  return new SmartVMError(code, `VMM of ${id}: ${what}${said}`, { details: { id, consoleTail, vmmTail, ...details } });
}
