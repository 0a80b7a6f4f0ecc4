import type { Host } from './host.js';

export type Area = 'host' | 'tools' | 'directories' | 'network' | 'production' | 'vms';

/**
 * `fail`: it stops SmartVM from working, or breaks the wall around VMs for anybody. `warn`: it weakens that wall on a host
 * that several tenants share. `info`: worth knowing, and no fault as things are.
 */
export type Verdict = 'ok' | 'info' | 'warn' | 'fail';

/** What a check found. Several findings may come of one check, as of one for each VM. */
export interface Finding {
  /** The check's name, such as `kvm`: it stays the same from version to version. */
  readonly id: string;
  readonly area: Area;
  readonly title: string;
  readonly verdict: Verdict;
  readonly detail: string;
  /** What to do, where something can be done. */
  readonly remedy?: string;
  /** Where the advice comes from. */
  readonly source?: string;
  /** The id of the VM that it is about. */
  readonly vm?: string;
}

/** A finding before its check has put its name to it. */
export type Result = Pick<Finding, 'verdict' | 'detail' | 'remedy' | 'vm'>;

export interface Check {
  readonly id: string;
  readonly area: Area;
  readonly title: string;
  /** What it looks at and when it complains, in a sentence or two: docs/doctor.md has it. */
  readonly about: string;
  readonly source?: string;
  readonly run: (host: Host) => Promise<Result | readonly Result[]>;
}

export const ok = (detail: string): Result => ({ verdict: 'ok', detail });
export const info = result('info');
export const warn = result('warn');
export const fail = result('fail');

function result(verdict: Verdict): (detail: string, remedy?: string) => Result {
  return (detail, remedy) => ({ verdict, detail, ...(remedy === undefined ? {} : { remedy }) });
}
