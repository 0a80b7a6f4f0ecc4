import { AddressRefused } from './reach.js';

interface FailureOptions {
  readonly cause?: unknown;
  readonly code?: 'DOWNLOAD_FAILED' | 'DOWNLOAD_REFUSED';
  readonly status?: number;
  /** Another try may succeed. */
  readonly retryable?: boolean;
  /** The server's own wish. */
  readonly retryAfterMs?: number | undefined;
  readonly remedy?: string | undefined;
}

/** One try of a transfer that failed, before it is known whether there is another. */
export class TransferFailure extends Error {
  override readonly name = 'TransferFailure';
  readonly code: 'DOWNLOAD_FAILED' | 'DOWNLOAD_REFUSED';
  readonly status: number | undefined;
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;
  readonly remedy: string | undefined;

  constructor(message: string, options: FailureOptions = {}) {
    super(message, { cause: options.cause });
    this.code = options.code ?? 'DOWNLOAD_FAILED';
    this.status = options.status;
    this.retryable = options.retryable ?? false;
    this.retryAfterMs = options.retryAfterMs;
    this.remedy = options.remedy;
  }
}

/** Says what a connection's error means, and whether another try may help. */
export function connectionFailure(cause: unknown): TransferFailure {
  const { code: named, message } = cause as { code?: unknown; message: string };
  const code = typeof named === 'string' ? named : ''; // a DOMException's is a number
  if (cause instanceof AddressRefused) {
    const remedy = 'plain http is for loopback alone, and no redirect goes from a wider network to a narrower one';
    return new TransferFailure(message, { cause, code: 'DOWNLOAD_REFUSED', remedy });
  }
  const proxyStatus = /Proxy response \((\d+)\)/.exec(message)?.[1];
  if (proxyStatus !== undefined) {
    return new TransferFailure(`the proxy answered ${proxyStatus} to CONNECT`, {
      cause,
      retryable: Number(proxyStatus) >= 500,
      remedy: 'look at HTTPS_PROXY and NO_PROXY',
    });
  }
  if (/CERT|SIGNATURE|ISSUER|^ERR_SSL|^ERR_TLS/.test(code)) {
    return new TransferFailure(`TLS failed: ${message} (${code})`, {
      cause,
      remedy: 'where a proxy signs anew, NODE_EXTRA_CA_CERTS names the file with its certificate',
    });
  }
  // A name that does not exist, and an answer that is not HTTP, stay so; one that broke off may not.
  const lasting = code === 'ENOTFOUND' || (code.startsWith('HPE_') && code !== 'HPE_INVALID_EOF_STATE');
  return new TransferFailure(code && !message.includes(code) ? `${message} (${code})` : message || code, {
    cause,
    retryable: !lasting,
  });
}
