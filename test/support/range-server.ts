import type { IncomingMessage, ServerResponse } from 'node:http';
import { type ArtifactServer, artifactServer } from './artifact-server.js';

export interface RangeServer extends ArtifactServer {
  /** What it has; another ETag with every change. */
  content: Buffer;
  etag: string;
  /** The connection breaks when this many bytes of an answer have been sent; taken one by one. */
  readonly cuts: number[];
  /** In place of its own answer, once. */
  next: ((request: IncomingMessage, response: ServerResponse) => void) | undefined;
  /** How many bytes of bodies it was asked for, and sent. */
  sentBytes: number;
  readonly ranges: (string | undefined)[];
}

/** A server that knows ETag, Range and If-Range, as RFC 9110 has them. */
export async function rangeServer(content: Buffer): Promise<RangeServer> {
  const server = await artifactServer((request, response) => {
    const { range, 'if-range': condition } = request.headers;
    state.ranges.push(range);
    const { next } = state;
    state.next = undefined;
    if (next) {
      next(request, response);
      return;
    }
    const offset = range !== undefined && condition === state.etag ? Number(/\d+/.exec(range)?.[0]) : 0;
    const total = state.content.length;
    const common = { etag: state.etag, 'content-length': total - offset };
    if (offset >= total) {
      response.writeHead(416, { 'content-range': `bytes */${total}` }).end();
    } else if (offset > 0) {
      response.writeHead(206, { ...common, 'content-range': `bytes ${offset}-${total - 1}/${total}` });
    } else {
      response.writeHead(200, common);
    }
    const cut = state.cuts.shift();
    const body = state.content.subarray(offset, cut === undefined ? total : offset + cut);
    state.sentBytes += body.length;
    if (cut === undefined) {
      response.end(body);
    } else {
      response.write(body, () => response.socket?.destroy());
    }
  });
  const state: RangeServer = Object.assign(server, {
    content,
    etag: '"1"',
    cuts: [],
    next: undefined,
    sentBytes: 0,
    ranges: [],
  });
  return state;
}
