import { GuestFiles } from '../../ts/guest/files/guest-files.js';
import { type AgentServerOptions, agentServer, connect, type ExecRequest, finish } from './agent-server.js';

export const REFUSED = { code: 'GUEST_FILE_REFUSED' };
export const base64 = (text: string) => Buffer.from(text, 'latin1').toString('base64');

export function record(kind: string, payload: Uint8Array | string = '', length = Buffer.byteLength(payload)): Buffer {
  const header = Buffer.from([kind.charCodeAt(0), 0, 0, 0, 0]);
  header.writeUInt32BE(length, 1);
  return Buffer.concat([header, Buffer.from(payload as string)]);
}

export const entry = (path: string, type: string, more: object = {}) =>
  record('E', JSON.stringify({ path: base64(path), type, ...more }));
export const file = (path: string, content = 'evil') => [entry(path, 'file'), record('D', content), record('F')];
export const top = entry('.', 'directory', { mode: 0o755 });
export const end = record('Z');

/** A guest that answers each request so. */
export async function guestThat(answer: (request: ExecRequest) => void, options: AgentServerOptions = {}) {
  const server = await agentServer(answer, options);
  const connection = await connect(server);
  return Object.assign(new GuestFiles(async () => connection), {
    async [Symbol.asyncDispose]() {
      connection.close();
      await server[Symbol.asyncDispose]();
    },
  });
}

export const sends = (...records: Buffer[]) =>
  guestThat((request) => {
    request.channel.write(Buffer.concat(records));
    finish(request, 0);
  });
