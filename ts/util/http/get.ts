import { STATUS_CODES } from 'node:http';
import { unescape as unescaped } from 'node:querystring';
import type { Dispatcher } from 'undici';
import { SmartVMError } from '../../errors.js';
import { delay, linkSignals, throwIfCanceled } from '../deadline.js';
import { printableUrl } from '../redact.js';
import { connectionFailure, TransferFailure } from './failure.js';
import { openHop } from './hop.js';
import { isWithin, type Reach, reachOfHost, wider } from './reach.js';

export interface GetOptions {
  /** Sent to the origin of the first URL alone: redirects elsewhere do not see them. So it is with a user and password in the URL. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** More certificate authorities than Node's own, as PEM. With it NODE_EXTRA_CA_CERTS has no say. */
  readonly ca?: string | undefined;
  /** Most milliseconds for a connection. Default 15,000. */
  readonly connectMs?: number | undefined;
  /** Most milliseconds without a byte. Default 30,000. */
  readonly stallMs?: number | undefined;
  /** Most milliseconds for all of it, further tries included. Default 1,800,000. */
  readonly wholeMs?: number | undefined;
  /** How often it is tried when the connection fails or the server is busy. Default 4. */
  readonly tries?: number | undefined;
  /** The wait before the second try in milliseconds, doubled for each further one up to 10 s. Default 500. */
  readonly backoffMs?: number | undefined;
  /** Follow redirects, 5 at most (the default), or give them as they are. */
  readonly follow?: boolean | undefined;
  /**
   * The narrowest network that may be gone to. Default: loopback, for a URL that the user gave. For one that a document names it is
   * the reach of where that came from.
   */
  readonly narrowest?: Reach | undefined;
  /** Plain HTTP to other hosts than this one: who is on the way can read and change it. Default false. */
  readonly allowHttp?: boolean | undefined;
  /** Asked before each try: from which byte on the rest is wanted, if it is still what has this (strong) ETag. */
  readonly range?: (() => { readonly offset: number; readonly etag: string } | undefined) | undefined;
  /** Ends the message of a failure: what the user can do. */
  readonly remedy?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told of a try that failed and has another behind it. */
  readonly onRetry?: ((message: string) => void) | undefined;
}

/** An answer of status 200, or a redirect where those are not followed; 206 or 416 where a range was asked for. */
export interface HttpAnswer {
  /** Where it came from, without what may be secret in it. */
  readonly url: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** The widest network that it went through. */
  readonly reach: Reach;
  /** The body, once. A stall or a broken connection ends it with an error. */
  body(): AsyncGenerator<Buffer>;
}

const MAX_REDIRECTS = 5;
const MAX_BACKOFF_MS = 10_000;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/**
 * GETs a URL over HTTPS, by the proxy of HTTPS_PROXY and NO_PROXY; plain HTTP is for loopback alone unless it is allowed. Redirects do not go from HTTPS to
 * HTTP, nor from a wider network to a narrower one (from a public host to a private address, say).
 * @param use takes the answer. It is called again when the connection breaks or the server is busy
 * @throws SmartVMError DOWNLOAD_FAILED, DOWNLOAD_REFUSED, CANCELED, and what `use` throws
 */
export async function httpGet<T>(
  url: string,
  options: GetOptions,
  use: (answer: HttpAnswer) => Promise<T>,
): Promise<T> {
  const { tries = 4, backoffMs = 500, wholeMs = 1_800_000 } = options;
  const first = parse(url);
  const what = `fetching ${printableUrl(first)}`;
  throwIfCanceled(options.signal, what);
  using whole = linkSignals([options.signal], wholeMs);
  for (let count = 1; ; count++) {
    try {
      return await getOnce(first, options, whole.signal, use);
    } catch (error) {
      throwIfCanceled(options.signal, what);
      if (!(error instanceof TransferFailure)) {
        throw error;
      }
      const late = () => new TransferFailure(`it took longer than ${wholeMs / 1000} s`, { cause: error });
      const failure = whole.timedOut ? late() : error;
      if (!failure.retryable || count >= tries) {
        throw toSmartVMError(first, failure, count, options.remedy);
      }
      options.onRetry?.(`${what}: ${failure.message}; trying again (${count + 1} of ${tries})`);
      // Half of it by chance: many that failed together do not come back together.
      const wait = backoffMs * 2 ** (count - 1) * (0.5 + Math.random() / 2);
      await delay(Math.min(failure.retryAfterMs ?? wait, MAX_BACKOFF_MS), whole.signal);
    }
  }
}

async function getOnce<T>(
  first: URL,
  options: GetOptions,
  whole: AbortSignal,
  use: (answer: HttpAnswer) => Promise<T>,
): Promise<T> {
  const { connectMs = 15_000, stallMs = 30_000, follow = true } = options;
  const stall = new AbortController();
  using linked = linkSignals([whole, stall.signal]);
  let url = first;
  let { narrowest = 'loopback' } = options;
  const range = options.range?.();
  for (let redirects = 0; ; redirects++) {
    assertReachable(url, narrowest, options.allowHttp);
    await using hop = await openHop(url, { narrowest, connectMs, ca: options.ca, allowHttp: options.allowHttp });
    const wanted = range ? { range: `bytes=${range.offset}-`, 'if-range': range.etag } : {};
    const common = { 'user-agent': 'smartvm', 'accept-encoding': 'identity', ...wanted };
    const headers = { ...common, ...ownHeaders(url, first, options) };
    const path = `${url.pathname}${url.search}`;
    const request = { origin: url.origin, path, method: 'GET', headers, signal: linked.signal } as const;
    // undici's own timeouts are coarse, and are off: ours abort the signal.
    const sent = hop.dispatcher.request({ ...request, headersTimeout: 0, bodyTimeout: 0 });
    const answer = await stalling(sent, connectMs + stallMs, stall);
    answer.body.on('error', () => undefined); // who reads it is told; nobody need be
    const { statusCode: status } = answer;
    if (REDIRECTS.has(status) && follow) {
      if (redirects === MAX_REDIRECTS) {
        throw new TransferFailure(`it redirects more than ${MAX_REDIRECTS} times`, { code: 'DOWNLOAD_REFUSED' });
      }
      narrowest = wider(narrowest, hop.reach());
      url = redirected(url, answer.headers.location);
      continue;
    }
    const isExpected = status === 200 || (range !== undefined && (status === 206 || status === 416));
    if (!isExpected && !(REDIRECTS.has(status) && !follow)) {
      throw statusFailure(status, url, first, answer.headers['retry-after']);
    }
    const plain = Object.fromEntries(Object.entries(answer.headers).map(([name, value]) => [name, String(value)]));
    const body = () => watched(answer.body, stallMs, stall);
    return await use({ url: printableUrl(url), status, headers: plain, reach: wider(narrowest, hop.reach()), body });
  }
}

/** The body's pieces. The clock runs while a piece is waited for, not while the reader is busy with one. */
async function* watched(body: Dispatcher.ResponseData['body'], ms: number, stall: AbortController) {
  const pieces = body[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  try {
    for (;;) {
      const { done, value } = await stalling(pieces.next(), ms, stall);
      if (done) {
        return;
      }
      yield value;
    }
  } finally {
    body.destroy();
  }
}

/** What the promise gives, or a failure: the connection's own, or that nothing came in time. */
async function stalling<T>(promise: Promise<T>, ms: number, stall: AbortController): Promise<T> {
  const timer = setTimeout(() => stall.abort(), ms);
  try {
    return await promise;
  } catch (cause) {
    throw stall.signal.aborted
      ? new TransferFailure(`nothing came for ${ms / 1000} s`, { cause, retryable: true })
      : connectionFailure(cause);
  } finally {
    clearTimeout(timer);
  }
}

function parse(text: string): URL {
  if (!URL.canParse(text)) {
    // Not shown: it may have a password in it.
    throw new SmartVMError('DOWNLOAD_REFUSED', 'what should be fetched is not named by a URL');
  }
  return new URL(text);
}

/** What a URL shows before anything is looked up. */
function assertReachable(url: URL, narrowest: Reach, allowHttp = false): void {
  const shown = reachOfHost(url.hostname);
  const refuse = (why: string) => new TransferFailure(`${printableUrl(url)} ${why}`, { code: 'DOWNLOAD_REFUSED' });
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw refuse('is not an https URL');
  }
  if (url.protocol === 'http:' && !allowHttp && shown !== undefined && shown !== 'loopback') {
    throw refuse('is not an https URL (plain http is for loopback alone)');
  }
  if (shown !== undefined && !isWithin(shown, narrowest)) {
    throw refuse(`is a ${shown} address, to which a ${narrowest} host must not send us`);
  }
}

function redirected(from: URL, location: string | string[] | undefined): URL {
  if (typeof location !== 'string' || !URL.canParse(location, from.href)) {
    throw new TransferFailure(`${printableUrl(from)} redirects to no URL`);
  }
  const to = new URL(location, from.href);
  if (from.protocol === 'https:' && to.protocol !== 'https:') {
    const where = `${printableUrl(from)} redirects to ${printableUrl(to)}`;
    throw new TransferFailure(`${where}, which is not https`, { code: 'DOWNLOAD_REFUSED' });
  }
  return to;
}

function ownHeaders(url: URL, first: URL, options: GetOptions): Record<string, string> {
  if (url.origin !== first.origin) {
    return {};
  }
  const { username, password } = first;
  const user = `${unescaped(username)}:${unescaped(password)}`;
  const basic = username ? { authorization: `Basic ${Buffer.from(user).toString('base64')}` } : {};
  return { ...basic, ...options.headers };
}

function statusFailure(status: number, url: URL, first: URL, retryAfter: unknown): TransferFailure {
  const where = url.origin === first.origin ? 'it' : `${printableUrl(url)} (redirected to)`;
  const seconds = Number(retryAfter);
  return new TransferFailure(`${where} answered ${status} ${STATUS_CODES[status] ?? ''}`.trim().concat(', not 200'), {
    status,
    retryable: status === 429 || status >= 500,
    retryAfterMs: retryAfter !== undefined && seconds >= 0 ? seconds * 1000 : undefined,
  });
}

function toSmartVMError(url: URL, failure: TransferFailure, tries: number, remedy?: string): SmartVMError {
  const times = tries > 1 ? ` (${tries} tries)` : '';
  const general = failure.code === 'DOWNLOAD_FAILED' ? 'check the network (behind a proxy, HTTPS_PROXY)' : undefined;
  const advice = failure.remedy ?? remedy ?? general;
  const shown = printableUrl(url);
  return new SmartVMError(
    failure.code,
    `cannot fetch ${shown}: ${failure.message}${times}${advice ? `; ${advice}` : ''}`,
    {
      cause: failure,
      details: { url: shown, tries, ...(failure.status === undefined ? {} : { status: failure.status }) },
    },
  );
}
