import type { Balloon } from '../api/device-bodies.js';
import { BALLOON_PATH } from './device-arguments.js';
import type { Qmp } from './qmp.js';
import { isActivated } from './virtio.js';

const MIB = 2 ** 20;
const PAGE_BYTES = 4096;
/** QEMU's word for a statistic that the guest has not sent. */
const UNKNOWN = 2 ** 64;

/** Firecracker's names of the statistics that QEMU knows, by QEMU's. */
const STATISTICS = {
  'stat-swap-in': 'swap_in',
  'stat-swap-out': 'swap_out',
  'stat-major-faults': 'major_faults',
  'stat-minor-faults': 'minor_faults',
  'stat-free-memory': 'free_memory',
  'stat-total-memory': 'total_memory',
  'stat-available-memory': 'available_memory',
  'stat-disk-caches': 'disk_caches',
  'stat-htlb-pgalloc': 'hugetlb_allocations',
  'stat-htlb-pgfail': 'hugetlb_failures',
} as const;

/** The balloon of a running machine. */
export class MachineBalloon {
  readonly #qmp: Qmp;
  readonly #memoryBytes: number;

  constructor(qmp: Qmp, memSizeMib: number) {
    this.#qmp = qmp;
    this.#memoryBytes = memSizeMib * MIB;
  }

  /** Asks the guest for this much memory. QEMU wants to be told what it keeps, which cannot be nothing. */
  async setTarget(amountMib: number): Promise<void> {
    await this.#qmp.execute('balloon', { value: Math.max(1, this.#memoryBytes - amountMib * MIB) });
  }

  async setPollingInterval(seconds: number): Promise<void> {
    const property = 'guest-stats-polling-interval';
    await this.#qmp.execute('qom-set', { path: BALLOON_PATH, property, value: seconds });
  }

  /** Whether a driver of the guest's has taken it up. */
  isActivated(): Promise<boolean> {
    return isActivated(this.#qmp, BALLOON_PATH);
  }

  /** As `GET /balloon/statistics` answers them; what the guest does not tell is left out. */
  async stats({ amount_mib }: Balloon): Promise<object> {
    const [{ actual }, { stats }] = (await Promise.all([
      this.#qmp.execute('query-balloon'),
      this.#qmp.execute('qom-get', { path: BALLOON_PATH, property: 'guest-stats' }),
    ])) as [{ actual: number }, { stats: Readonly<Record<string, number>> }];
    const held = this.#memoryBytes - actual;
    const known = Object.entries(STATISTICS)
      .map(([name, field]) => [field, stats[name]] as const)
      .filter(([, value]) => value !== undefined && value < UNKNOWN);
    return {
      target_pages: (amount_mib * MIB) / PAGE_BYTES,
      actual_pages: Math.floor(held / PAGE_BYTES),
      target_mib: amount_mib,
      actual_mib: Math.floor(held / MIB),
      ...Object.fromEntries(known),
    };
  }
}
