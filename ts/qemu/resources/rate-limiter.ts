import type { RateLimiter, TokenBucket } from '../api/bodies.js';

/** A limiter as the VM has it: buckets that limit nothing are null, and a limiter without buckets is null. */
export function normalized(limiter: RateLimiter | null): RateLimiter | null {
  return updated(null, limiter);
}

/** A bucket that the update leaves out stays; one of size 0 or refill time 0 turns its limit off. */
export function updated(current: RateLimiter | null, update: RateLimiter | null): RateLimiter | null {
  const next = {
    bandwidth: update?.bandwidth ? effective(update.bandwidth) : (current?.bandwidth ?? null),
    ops: update?.ops ? effective(update.ops) : (current?.ops ?? null),
  };
  return next.bandwidth || next.ops ? next : null;
}

function effective({ size, one_time_burst, refill_time }: TokenBucket): TokenBucket | null {
  return size === 0 || refill_time === 0 ? null : { size, one_time_burst: one_time_burst || null, refill_time };
}
