import { get } from 'node:http';

export interface UnixJsonOptions {
  signal: AbortSignal;
}

/**
 * The JSON of a GET on a Unix socket, by Node's own client, which is there at once: to load a better one takes longer than a hundred
 * answers. @throws the system's error when nobody listens or hangs up, a SyntaxError for what is no JSON
 */
export function getUnixJson<T>(socketPath: string, path: string, { signal }: UnixJsonOptions): Promise<T> {
  return new Promise((resolve, reject) => {
    const request = get({ socketPath, path, agent: false, signal }, async (response) => {
      try {
        resolve(JSON.parse((await response.setEncoding('utf8').toArray()).join('')) as T);
      } catch (error) {
        reject(error);
      }
    });
    request.on('error', reject);
  });
}
