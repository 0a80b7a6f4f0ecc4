import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:http';

/** HTTP over a Unix socket as node:http alone does it, with keep-alive. */
export class BareClient {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** The answer's JSON; undefined when it has no body. */
  call(method: string, path: string, body?: object): Promise<unknown> {
    const payload = body && JSON.stringify(body);
    const headers = payload ? { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) } : {};
    return new Promise((resolve, reject) => {
      const options = { socketPath: this.#socketPath, agent: this.#agent, method, path, headers };
      const call = request(options, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString('utf8');
          (response.statusCode ?? 500) < 400
            ? resolve(text === '' ? undefined : JSON.parse(text))
            : reject(new Error(text));
        });
      });
      call.on('error', reject);
      call.end(payload);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

export interface BareVm {
  /** Milliseconds from nothing to a guest that runs. */
  readonly ms: number;
  end(): Promise<void>;
}

/** Spawns a VMM and sends it the requests that a boot takes, the first as often as it needs to come up. */
export async function bootByHand(
  executable: string,
  socketPath: string,
  kernel: string,
  drive: string,
): Promise<BareVm> {
  const begin = performance.now();
  const vmm = spawn(executable, ['--api-sock', socketPath, '--id', 'by-hand'], { stdio: ['pipe', 'ignore', 'ignore'] });
  const client = new BareClient(socketPath);
  while (!(await client.call('GET', '/').catch(() => undefined))) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await client.call('PUT', '/machine-config', { vcpu_count: 1, mem_size_mib: 32 });
  await client.call('PUT', '/boot-source', { kernel_image_path: kernel });
  const body = { drive_id: 'd', path_on_host: drive, is_root_device: false, is_read_only: true };
  await client.call('PUT', '/drives/d', body);
  await client.call('PUT', '/actions', { action_type: 'InstanceStart' });
  const ms = performance.now() - begin;
  return { ms, end: () => end(vmm, client) };
}

async function end(vmm: ChildProcess, client: BareClient): Promise<void> {
  client.close();
  const exit = once(vmm, 'exit');
  vmm.kill('SIGKILL');
  await exit;
}
