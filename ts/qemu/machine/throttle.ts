import type { RateLimiter, TokenBucket } from '../api/bodies.js';

/**
 * A limiter in terms of QEMU's leaky buckets. A bucket of `size` that refills in `refill_time` ms drains at
 * size * 1000 / refill_time a second; one that holds more than a second's worth also allows a burst of its size. QEMU
 * has nothing like Firecracker's one-time burst.
 * Source: docs/throttle.txt of QEMU.
 */
export function throttleLimits(limiter: RateLimiter | null): Record<string, number> {
  return { ...limits('bps', limiter?.bandwidth ?? null), ...limits('iops', limiter?.ops ?? null), ...UNLIMITED };
}

/** QEMU wants every limit named. */
const UNLIMITED = { bps_rd: 0, bps_wr: 0, iops_rd: 0, iops_wr: 0 };

function limits(unit: 'bps' | 'iops', bucket: TokenBucket | null): Record<string, number> {
  if (!bucket) {
    return { [unit]: 0 };
  }
  const rate = Math.max(1, Math.round((bucket.size * 1000) / bucket.refill_time));
  const seconds = Math.floor(bucket.refill_time / 1000);
  return seconds > 0 ? { [unit]: rate, [`${unit}_max`]: rate, [`${unit}_max_length`]: seconds } : { [unit]: rate };
}
