import type { DownloadProgress } from '../../util/download.js';

export type StepName = 'vmm' | 'packages' | 'firecracker' | 'image';

/** `present`: there was nothing to do. `planned`: would be done, were it not a dry run. */
export type StepState = 'present' | 'done' | 'planned' | 'failed';

/** What came of a step: a line for a person, an entry of the JSON document. */
export interface StepResult {
  readonly step: StepName;
  readonly state: StepState;
  readonly message: string;
  /** Why it is, or is not, needed here. */
  readonly reason?: string | undefined;
  readonly warnings?: readonly string[] | undefined;
  /** The command that does what this step could not. */
  readonly command?: string | undefined;
  /** The code of the error. */
  readonly code?: string | undefined;
  readonly details?: Readonly<Record<string, unknown>> | undefined;
}

/** What a step says while it works. */
export interface StepListener {
  message(text: string): void;
  progress(progress: DownloadProgress): void;
}

type Outcome = Omit<StepResult, 'step' | 'state'>;

/** What a step has found: an end, or what it is going to do. */
export type Finding =
  | (Outcome & { readonly state: 'present' | 'failed' })
  | (Outcome & { readonly state: 'needed'; act(listener: StepListener): Promise<Outcome> });

export interface Step {
  readonly name: StepName;
  find(): Promise<Finding>;
}

export interface StepReporter {
  /** A step begins to do something. */
  begin(step: StepName, message: string): StepListener;
  end(result: StepResult): void;
}

/** Goes through the steps in order. One that fails does not keep those behind it from being done. */
export async function runSteps(
  steps: readonly Step[],
  reporter: StepReporter,
  { dryRun, signal }: { dryRun: boolean; signal: AbortSignal },
): Promise<StepResult[]> {
  const results: StepResult[] = [];
  for (const step of steps) {
    if (signal.aborted) {
      break;
    }
    const result = await runStep(step, reporter, dryRun).catch((error: unknown) => failed(step.name, error));
    reporter.end(result);
    results.push(result);
  }
  return results;
}

async function runStep(step: Step, reporter: StepReporter, dryRun: boolean): Promise<StepResult> {
  const finding = await step.find();
  if (finding.state !== 'needed') {
    return { step: step.name, ...finding };
  }
  const { act, ...planned } = finding;
  if (dryRun) {
    return { step: step.name, ...planned, state: 'planned' };
  }
  const outcome = await act(reporter.begin(step.name, finding.message));
  return { step: step.name, reason: finding.reason, warnings: finding.warnings, ...outcome, state: 'done' };
}

function failed(step: StepName, error: unknown): StepResult {
  const { code, message, details } = error as { code?: string; message: string; details?: { command?: string } };
  return { step, state: 'failed', message, code, command: details?.command };
}
