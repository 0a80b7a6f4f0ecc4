import { constants } from 'node:os';
import type { VmmExit } from '../../vmm/exit.js';
import type { ListedVm, StatusWord } from './list.js';
import { SGR } from './style.js';
import type { Column } from './table.js';
import { durationInWords } from './words.js';

/** A VM as `ps` shows it; what there is not is null, so that every row has every field. */
export interface PsRow {
  readonly id: string;
  readonly name: string | null;
  readonly image: string | null;
  readonly state: StatusWord;
  /** In words. */
  readonly status: string;
  /** ISO 8601, as all times. */
  readonly createdAt: string;
  readonly startedAt: string | null;
  readonly exitedAt: string | null;
  /** When its keeper stops or pauses it. */
  readonly expiresAt: string | null;
  readonly exitCode: number | null;
  /** Null where a snapshot says it. */
  readonly cpus: number | null;
  readonly memoryMib: number | null;
  readonly labels: Readonly<Record<string, string>>;
  /** Of the host, that lead to the guest's: as Docker says it. */
  readonly ports: string;
  readonly vmm: string | null;
  readonly pid: number | null;
  readonly detached: boolean;
}

const COLORS: Readonly<Record<StatusWord, number>> = {
  created: SGR.cyan,
  running: SGR.green,
  paused: SGR.yellow,
  exited: SGR.dim,
};
/** A reference to an image may have a digest. */
const MAX_IMAGE = 32;

export function psRow({ id, status, record, state, exit }: ListedVm, now: number, ports = ''): PsRow {
  const isAlive = status === 'running' || status === 'paused';
  return {
    id,
    name: record.name ?? null,
    image: record.image ?? null,
    state: status,
    status: statusInWords(status, state?.startedAt, exit, now),
    createdAt: record.createdAt,
    startedAt: state?.startedAt ?? null,
    exitedAt: exit?.exitedAt ?? null,
    expiresAt: state?.expiresAt ?? null,
    exitCode: exit ? exitCodeOf(exit) : null,
    cpus: record.cpus ?? null,
    memoryMib: record.memoryMib ?? null,
    labels: record.labels ?? {},
    ports,
    vmm: record.vmm.kind ?? null,
    pid: isAlive ? (record.processes?.vmm?.pid ?? null) : null,
    detached: record.detached,
  };
}

/** As a shell has it of a program: 128 + the number of the signal that ended the VMM, as SIGKILL does with its keeper. */
export function exitCodeOf({ exitCode, signal, commandExitCode, reason }: VmmExit): number | null {
  if (reason === 'keeper-lost') {
    return 128 + constants.signals.SIGKILL;
  }
  if (commandExitCode !== undefined) {
    return commandExitCode;
  }
  const number = signal === null ? undefined : constants.signals[signal as NodeJS.Signals];
  return number === undefined ? exitCode : 128 + number;
}

function statusInWords(
  status: StatusWord,
  startedAt: string | undefined,
  exit: VmmExit | undefined,
  now: number,
): string {
  switch (status) {
    case 'created':
      return 'Created';
    case 'running':
      return `Up ${since(startedAt, now)}`;
    case 'paused':
      return `Up ${since(startedAt, now)} (Paused)`;
    case 'exited': {
      const code = exit && exitCodeOf(exit);
      return `Exited${code == null ? '' : ` (${code})`}${exit?.exitedAt ? ` ${since(exit.exitedAt, now)} ago` : ''}`;
    }
  }
}

function since(time: string | undefined, now: number): string {
  return durationInWords(now - Date.parse(time ?? ''));
}

export function psColumns(trunc: boolean, now: number): readonly Column<PsRow>[] {
  return [
    { title: 'VM ID', text: ({ id }) => id },
    { title: 'IMAGE', text: ({ image }) => (trunc ? cut(image ?? '-') : (image ?? '-')) },
    { title: 'CPUS', text: ({ cpus }) => String(cpus ?? '-'), right: true },
    { title: 'MEMORY', text: ({ memoryMib }) => (memoryMib === null ? '-' : `${memoryMib} MiB`), right: true },
    { title: 'CREATED', text: ({ createdAt }) => `${since(createdAt, now)} ago` },
    { title: 'STATUS', text: ({ status }) => status, color: ({ state }) => COLORS[state] },
    { title: 'PORTS', text: ({ ports }) => ports },
    { title: 'NAME', text: ({ name }) => name ?? '' },
  ];
}

function cut(text: string): string {
  return text.length > MAX_IMAGE ? `${text.slice(0, MAX_IMAGE - 1)}…` : text;
}
