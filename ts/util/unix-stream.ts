import { get, type IncomingMessage } from 'node:http';

/** The answer of a GET on a Unix socket, its body not yet read; by Node's own client, which is there at once. */
export function getUnixStream(socketPath: string, path: string, signal: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = get({ socketPath, path, agent: false, signal }, (response) => {
      if (response.statusCode === 200) {
        resolve(response);
      } else {
        response.destroy();
        reject(new Error(`GET ${path} was answered with ${response.statusCode}`));
      }
    });
    request.on('error', reject);
  });
}
