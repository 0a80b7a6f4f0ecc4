import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { run } from '../../ts/util/run.js';
import type { ScratchDirectory } from './scratch.js';

export interface ArtifactServer extends AsyncDisposable {
  readonly port: number;
  /** Every request's `METHOD path`. */
  readonly requests: string[];
  url(path: string): string;
}

/** An HTTP or HTTPS server on loopback, gone with all of its connections when it is disposed of. */
export async function artifactServer(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
  tls?: TlsFiles,
): Promise<ArtifactServer> {
  const requests: string[] = [];
  const listener: RequestListener = (request, response) => {
    requests.push(`${request.method} ${request.url}`);
    answer(request, response);
  };
  const server = tls ? createTlsServer({ key: tls.key, cert: tls.certificate }, listener) : createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    requests,
    url: (path) => `${tls ? 'https' : 'http'}://127.0.0.1:${port}${path}`,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

export interface TlsFiles {
  /** The authority's certificate, PEM. */
  readonly ca: string;
  readonly caPath: string;
  readonly key: string;
  readonly certificate: string;
}

/** A certificate authority made up for a test, and a certificate of it for these names. */
export async function madeUpTls(scratch: ScratchDirectory, names: readonly string[]): Promise<TlsFiles> {
  const [caPath, keyPath, certificatePath] = ['ca.pem', 'key.pem', 'certificate.pem'].map((name) => scratch.file(name));
  const [caKey, request, extensions] = ['ca.key', 'request.pem', 'extensions'].map((name) => scratch.file(name));
  const { readFile, writeFile } = await import('node:fs/promises');
  const made = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const paths = { caPath, keyPath, certificatePath, caKey, request, extensions } as Record<string, string>;
  const at = (name: string) => paths[name] ?? '';
  await writeFile(at('extensions'), `subjectAltName=${names.join(',')}\n`);
  await run('openssl', [
    ...['req', '-x509', ...made, '-days', '2', '-subj', '/CN=made-up'],
    ...['-keyout', at('caKey'), '-out', at('caPath')],
  ]);
  await run('openssl', ['req', ...made, '-subj', '/CN=test', '-keyout', at('keyPath'), '-out', at('request')]);
  await run('openssl', [
    ...['x509', '-req', '-in', at('request'), '-CA', at('caPath'), '-CAkey', at('caKey'), '-CAcreateserial'],
    ...['-days', '2', '-extfile', at('extensions'), '-out', at('certificatePath')],
  ]);
  const [ca, key, certificate] = await Promise.all(
    ['caPath', 'keyPath', 'certificatePath'].map((name) => readFile(at(name), 'utf8')),
  );
  return { ca: ca ?? '', caPath: at('caPath'), key: key ?? '', certificate: certificate ?? '' };
}

export interface ConnectProxy extends AsyncDisposable {
  readonly port: number;
  /** Where it was asked to connect to, and the credentials it was shown. */
  readonly tunnels: { readonly target: string; readonly authorization: string | undefined }[];
}

/** A proxy that knows CONNECT alone, and leads every tunnel to one port of loopback; or answers with a status. */
export async function connectProxy(port: number, refusal?: number): Promise<ConnectProxy> {
  const tunnels: ConnectProxy['tunnels'] = [];
  const sockets = new Set<Duplex>();
  const server = createServer((_request, response) => response.writeHead(405).end());
  server.on('connect', (request: IncomingMessage, client: Socket) => {
    tunnels.push({ target: request.url ?? '', authorization: request.headers['proxy-authorization'] });
    sockets.add(client.on('error', () => undefined));
    if (refusal !== undefined) {
      client.end(`HTTP/1.1 ${refusal} No\r\ncontent-length: 0\r\n\r\n`);
      return;
    }
    const upstream = connect(port, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connected\r\n\r\n');
      upstream.pipe(client).pipe(upstream);
    });
    sockets.add(upstream.on('error', () => client.destroy()));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    tunnels,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) {
        socket.destroy();
      }
      server.closeAllConnections();
      await closed;
    },
  };
}
