import type { Dispatcher } from 'undici';
import { TransferFailure } from './failure.js';
import { guardedLookup, isWithin, type Reach, reachOf, reachOfHost } from './reach.js';

export interface HopOptions {
  /** The narrowest reach that may be gone to. */
  readonly narrowest: Reach;
  readonly connectMs: number;
  /** Plain HTTP may leave this host. */
  readonly allowHttp?: boolean | undefined;
  /** More certificate authorities than Node's, as PEM. */
  readonly ca?: string | undefined;
}

/** A connection for one request: by the proxy of the environment, or straight to an address that was checked. */
export interface Hop extends AsyncDisposable {
  readonly dispatcher: Dispatcher;
  /** The reach of what it is connected to. A name that a proxy looks up is taken to be public. */
  reach(): Reach;
}

/** undici takes 60 ms to load, which nobody should pay who fetches nothing. */
export async function openHop(url: URL, options: HopOptions): Promise<Hop> {
  const { Agent, EnvHttpProxyAgent, buildConnector } = await import('undici');
  const staysHere = url.protocol === 'http:' && !options.allowHttp;
  const allows = (reach: Reach) => isWithin(reach, options.narrowest) && (!staysHere || reach === 'loopback');
  const tls = {
    timeout: options.connectMs,
    ...(options.ca === undefined ? {} : { ca: await withDefaultAuthorities(options.ca) }),
  };
  const connector = buildConnector({ ...tls, lookup: guardedLookup(allows) } as object);
  let connectedTo: string | undefined;
  const connect: typeof connector = (target, callback) =>
    connector(target, (...result) => {
      connectedTo ??= result[1]?.remoteAddress;
      callback(...result);
    });
  const shown = reachOfHost(url.hostname);
  const direct = staysHere || shown === 'loopback';
  const dispatcher = direct
    ? new Agent({ connect })
    : new EnvHttpProxyAgent({ connect, requestTls: tls, proxyTls: tls, ...proxies() });
  return {
    dispatcher,
    reach: () => shown ?? (connectedTo === undefined ? 'public' : reachOf(connectedTo)),
    [Symbol.asyncDispose]: () => dispatcher.destroy(),
  };
}

/** A proxy that is named without a scheme, as curl takes it. */
function proxies(): { httpProxy?: string; httpsProxy?: string } {
  const { env } = process;
  const named = (variable: string) => {
    const value = env[variable.toLowerCase()] ?? env[variable];
    const url = value && !value.includes('://') ? `http://${value}` : value;
    if (url && !URL.canParse(url)) {
      throw new TransferFailure(`${variable} is not a URL`); // its value may have a password in it
    }
    return url;
  };
  const [httpProxy, httpsProxy] = [named('HTTP_PROXY'), named('HTTPS_PROXY')];
  return { ...(httpProxy ? { httpProxy } : {}), ...(httpsProxy ? { httpsProxy } : {}) };
}

async function withDefaultAuthorities(ca: string): Promise<string[]> {
  const { rootCertificates } = await import('node:tls');
  return [...rootCertificates, ca];
}
