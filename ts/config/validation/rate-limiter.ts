import type { IRateLimiter, ITokenBucket } from '../types.js';
import { integer, object } from './checks.js';

/** Firecracker counts in nanoseconds in 64 bits; where that overflows it goes without the limit. */
const MAX_REFILL_TIME_MS = 18_446_744_073_709;

export const tokenBucket = object<ITokenBucket>(
  { size: integer(0), refillTime: integer(0, MAX_REFILL_TIME_MS), oneTimeBurst: integer(0) },
  ['size', 'refillTime'],
);

export const rateLimiter = object<IRateLimiter>({ bandwidth: tokenBucket, ops: tokenBucket });
