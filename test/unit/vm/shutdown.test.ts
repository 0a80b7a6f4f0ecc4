import { describe, expect, test } from 'vitest';
import type { Guest } from '../../../ts/guest/types.js';
import { LADDER, shutDown } from '../../../ts/vm/shutdown.js';
import type { VmmExit } from '../../../ts/vmm/exit.js';
import { hostArch } from '../../../ts/vmm/host.js';
import type { VmmProcess } from '../../../ts/vmm/vmm-process.js';

const GRACE_MS = 20;

/** What the ladder sees of a machine: it notes each rung, and ends at the one that it is told to end at. */
function machineEndingAt(end: string, options: { paused?: boolean; agent?: boolean; broken?: string[] } = {}) {
  const tried: string[] = [];
  let exit: VmmExit | undefined;
  let announce = (_exit: VmmExit) => undefined as unknown;
  const exited = new Promise<VmmExit>((resolve) => {
    announce = resolve;
  });
  const rung = async (name: string) => {
    tried.push(name);
    if (options.broken?.includes(name)) {
      throw new Error(`${name} does not work`);
    }
    if (name === end) {
      exit = {
        exitCode: name.startsWith('SIG') ? null : 0,
        signal: name.startsWith('SIG') ? name : null,
        reason: 'exited',
        startedAt: null,
        exitedAt: null,
      };
      announce(exit);
    }
  };
  const process = {
    exited,
    get exit() {
      return exit;
    },
    api: { createSyncAction: ({ action_type }: { action_type: string }) => rung(action_type) },
    signal: rung,
    kill: () => rung('SIGKILL'),
  } as unknown as VmmProcess;
  const guest = { shutdown: (mode: string) => rung(`agent ${mode}`) } as unknown as Guest;
  const machine = { process, guest: options.agent === false ? undefined : guest, paused: options.paused ?? false };
  return { machine, tried, end: () => rung(end) };
}

/** Without Ctrl-Alt-Del, which only x86 has. */
const here = (rungs: string[]) => rungs.filter((rung) => rung !== 'SendCtrlAltDel' || hostArch() === 'x86_64');

describe('shutDown', () => {
  test('the ladder goes from the gentlest to the surest', () => {
    expect(LADDER.map(({ name }) => name)).toEqual(['guest', 'ctrl-alt-del', 'SIGTERM', 'SIGKILL']);
  });

  test('ends at the first rung that works', async () => {
    const { machine, tried } = machineEndingAt('agent reboot');
    expect(await shutDown(machine, 60_000, 'guest')).toBe('guest');
    expect(tried).toEqual(['agent reboot']);
  });

  test('climbs to the last where nothing else works, waiting on each', async () => {
    const { machine, tried } = machineEndingAt('SIGKILL');
    const begin = performance.now();
    expect(await shutDown(machine, GRACE_MS, 'guest')).toBe('SIGKILL');
    expect(tried).toEqual(here(['agent reboot', 'SendCtrlAltDel', 'SIGTERM', 'SIGKILL']));
    expect(performance.now() - begin).toBeGreaterThan(GRACE_MS * (tried.length - 1) - 5);
  });

  test('a rung that fails is left at once', async () => {
    const { machine, tried } = machineEndingAt('SIGTERM', { broken: ['agent reboot', 'SendCtrlAltDel'] });
    expect(await shutDown(machine, 60_000, 'guest')).toBe('SIGTERM');
    expect(tried).toEqual(here(['agent reboot', 'SendCtrlAltDel', 'SIGTERM']));
  });

  test('a paused guest is not asked, for it hears nothing', async () => {
    const { machine, tried } = machineEndingAt('SIGTERM', { paused: true });
    expect(await shutDown(machine, 60_000, 'guest')).toBe('SIGTERM');
    expect(tried).toEqual(['SIGTERM']);
  });

  test('a guest without the agent is asked by Ctrl-Alt-Del', async () => {
    const { machine, tried } = machineEndingAt('SIGTERM', { agent: false });
    expect(await shutDown(machine, GRACE_MS, 'guest')).toBe('SIGTERM');
    expect(tried).toEqual(here(['SendCtrlAltDel', 'SIGTERM']));
  });

  test('by force it begins at the end', async () => {
    const { machine, tried } = machineEndingAt('SIGKILL');
    expect(await shutDown(machine, 60_000, 'SIGKILL')).toBe('SIGKILL');
    expect(tried).toEqual(['SIGKILL']);
  });

  test('a SIGKILL from elsewhere in the middle of a gentle rung is called what it was', async () => {
    const { machine, end } = machineEndingAt('SIGKILL');
    const stopped = shutDown(machine, 60_000, 'guest');
    await end();
    expect(await stopped).toBe('SIGKILL');
  });
});
