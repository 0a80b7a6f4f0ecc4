import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { debianPackage } from './debian-package.js';
import { type ScratchDirectory, scratchDirectory } from './scratch.js';

/** Debian's docker-registry on a loopback port of its own, with a log of what it was asked for. */
export interface Registry extends AsyncDisposable {
  /** `127.0.0.1:port` */
  readonly host: string;
  /** `GET /v2/…` since the last call. */
  takeRequests(): string[];
}

/** Of user `user`, password `secret`. */
const HTPASSWD = 'user:$2a$05$iT4yYdJtzdLF3HDhm9KXYe5ASjMfYuy3iOBJs8nOI4.eEKGPU4ks.\n';

export async function startRegistry({ auth = false } = {}): Promise<Registry> {
  const program = join(await debianPackage('docker-registry'), 'usr/bin/docker-registry');
  const scratch: ScratchDirectory = await scratchDirectory();
  await writeFile(scratch.file('htpasswd'), HTPASSWD);
  const config = {
    version: 0.1,
    log: { level: 'info', formatter: 'json' },
    storage: { filesystem: { rootdirectory: scratch.file('data') } },
    http: { addr: '127.0.0.1:0' },
    ...(auth ? { auth: { htpasswd: { realm: 'test', path: scratch.file('htpasswd') } } } : {}),
  };
  await writeFile(scratch.file('config.yml'), JSON.stringify(config)); // which is YAML, too
  const child: ChildProcess = spawn(program, ['serve', scratch.file('config.yml')], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const log = { text: '' };
  const host = await new Promise<string>((resolve, reject) => {
    const take = (chunk: Buffer) => {
      log.text += chunk;
      const [, found] = /listening on (127\.0\.0\.1:\d+)/.exec(log.text) ?? [];
      if (found) {
        resolve(found);
      }
    };
    child.stdout?.on('data', take);
    child.stderr?.on('data', take);
    child.once('exit', () => reject(new Error(`docker-registry ended: ${log.text}`)));
    child.once('error', reject);
  });
  let taken = log.text.length;
  return {
    host,
    takeRequests: () => {
      const lines = log.text.slice(taken).split('\n');
      taken = log.text.length;
      return lines.flatMap((line) => {
        const [, method, path] = /"(GET|HEAD|PUT|POST|PATCH) (\/v2\/[^ "]*) HTTP/.exec(line) ?? [];
        return method ? [`${method} ${path}`] : [];
      });
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
      await scratch[Symbol.asyncDispose]();
    },
  };
}
