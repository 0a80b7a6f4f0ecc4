import { mkdir, readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../../ts/util/run.js';
import { anySteps } from '../support/any-step.js';
import { type RawAnswer, RawVmm, type Step } from '../support/raw-vmm.js';
import { difference } from '../support/same-answer.js';
import { type ScratchDirectory, scratchDirectory } from '../support/scratch.js';
import { VMMS, type VmmAtHand } from '../support/toy-vm.js';

/** What a Firecracker on KVM answered, request by request. */
interface Transcript {
  readonly scenarios: readonly {
    readonly name: string;
    readonly steps: readonly (Step & { readonly status: number; readonly response: string | null })[];
  }[];
}

const transcript = JSON.parse(
  await readFile(new URL('../fixtures/firecracker-transcript.json', import.meta.url), 'utf8'),
) as Transcript;

const TAPS = { tap: `svc${process.pid}a`, tap2: `svc${process.pid}b` };

describe.skipIf(process.arch !== 'x64' || process.getuid?.() !== 0)('the API', () => {
  beforeAll(async () => {
    for (const tap of Object.values(TAPS)) {
      await run('ip', ['tuntap', 'add', tap, 'mode', 'tap']);
    }
  });

  afterAll(async () => {
    for (const tap of Object.values(TAPS)) {
      await run('ip', ['link', 'del', tap]);
    }
  });

  describe.each(VMMS)('of $name', (vmm) => {
    let given: ScratchDirectory;

    beforeAll(async () => {
      given = await scratchDirectory();
      await takeSnapshot(vmm, given.path);
    });

    afterAll(() => given[Symbol.asyncDispose]());

    it.each(transcript.scenarios)('answers as recorded: $name', async ({ steps }) => {
      const recorded = steps.map(({ status, response: text }) => ({ status, text }));
      expect(differences(steps, recorded, await play(vmm, steps, given.path))).toBe('');
    });
  });

  it.skipIf(VMMS.length < 2)('answers any requests in any order alike on every VMM', async () => {
    const property = fc.asyncProperty(anySteps, async (steps) => {
      const answers: RawAnswer[][] = [];
      for (const vmm of VMMS) {
        answers.push(await play(vmm, steps, '/nonexistent')); // one after the other: they share the TAPs
      }
      const [ours, firecracker] = answers;
      expect(differences(steps, firecracker, ours)).toBe('');
    });
    await fc.assert(property, { numRuns: Number(process.env.SMARTVM_CONFORMANCE_RUNS ?? 20) });
  });
});

const NO_ANSWER: RawAnswer = { status: null, text: null };

/** Where two VMMs disagree, with both answers; empty when they do not. */
function differences(steps: readonly Step[], expected: readonly RawAnswer[] = [], actual: readonly RawAnswer[] = []) {
  return steps
    .map((step, index) => difference(step, expected[index] ?? NO_ANSWER, actual[index] ?? NO_ANSWER))
    .filter((text) => text !== undefined)
    .join('\n');
}

async function play(vmm: VmmAtHand, steps: readonly Step[], given: string): Promise<RawAnswer[]> {
  await using raw = await RawVmm.start(vmm, { ...TAPS, given });
  const answers: RawAnswer[] = [];
  for (const step of steps) {
    answers.push(await raw.send(step));
  }
  return answers;
}

async function takeSnapshot(vmm: VmmAtHand, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const steps: readonly Step[] = [
    { method: 'PUT', path: '/boot-source', body: { kernel_image_path: '{dir}/toy', boot_args: 'reboot=k panic=1' } },
    { method: 'PUT', path: '/actions', body: { action_type: 'InstanceStart' } },
    { method: 'PATCH', path: '/vm', body: { state: 'Paused' } },
    {
      method: 'PUT',
      path: '/snapshot/create',
      body: { snapshot_path: '{given}/snap', mem_file_path: '{given}/mem' },
    },
  ];
  expect((await play(vmm, steps, folder)).at(-1)?.status).toBe(204);
}
