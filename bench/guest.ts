// `npm run bench:guest`: commands in a Debian guest, beside OpenSSH's ssh over a connection that is open already, to the same agent.
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { readGuestAccess } from '../ts/guest/access.js';
import { AGENT_VSOCK_PORT } from '../ts/guest/connection.js';
import { SmartVM } from '../ts/smartvm.js';
import { PACKAGE_ROOT } from '../ts/util/package-root.js';
import { percentile, print } from './statistics.js';

const RUNS = 100;
const AT_ONCE = 50;
const ROUNDS = 5;

const scratch = mkdtempSync(join(tmpdir(), 'smartvm-bench-'));
const runtimeDir = join(scratch, 'run');
process.once('exit', () => rmSync(scratch, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => process.exit(128 + constants.signals[signal]));
}

async function time(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

await using smartvm = new SmartVM({ runtimeDir });
const vm = await smartvm.launch({ id: 'bench' });
const access = await readGuestAccess(join(runtimeDir, vm.id));
if (!access) {
  throw new Error('the guest has no agent');
}

const [key, knownHosts] = [join(scratch, 'key'), join(scratch, 'known_hosts')];
writeFileSync(key, access.keys.clientKey, { mode: 0o600 });
writeFileSync(knownHosts, `guest ssh-ed25519 ${access.keys.hostPublicKey}\n`);
const proxy = [process.execPath, join(PACKAGE_ROOT, 'bench/vsock-proxy.mjs'), access.udsPath, AGENT_VSOCK_PORT];
const options = [
  ['-F', 'none'],
  ['-i', key],
  ...Object.entries({
    UserKnownHostsFile: knownHosts,
    ControlPath: join(scratch, 'control'),
    ProxyCommand: proxy.map((word) => `'${word}'`).join(' '),
    BatchMode: 'yes',
    LogLevel: 'ERROR',
  }).map(([name, value]) => ['-o', `${name}=${value}`]),
].flat();
const ssh = (...args: string[]) => promisify(execFile)('ssh', [...options, 'root@guest', ...args]);
// It stays in the background, with whatever it is given as its output.
execFileSync('ssh', [...options, '-fN', '-o', 'ControlMaster=yes', 'root@guest'], { stdio: 'ignore' });

try {
  const times: { exec: number[]; ssh: number[] } = { exec: [], ssh: [] };
  for (let round = 0; round < RUNS; round++) {
    // Turn by turn, so that what else the machine does hits both alike. ssh has its command run by a shell: it execs here too.
    times.exec.push(await time(() => vm.exec(['/bin/true'])));
    times.ssh.push(await time(() => ssh('exec /bin/true')));
  }
  const baseline = { name: 'ssh over ControlMaster', times: times.ssh };
  print({ name: "exec(['/bin/true'])", ours: times.exec, baseline });

  const many: { together: number[]; inTurn: number[] } = { together: [], inTurn: [] };
  const commands = Array.from({ length: AT_ONCE });
  for (let round = 0; round < ROUNDS; round++) {
    many.together.push(await time(() => Promise.all(commands.map(() => vm.exec(['/bin/true'])))));
    many.inTurn.push(
      await time(async () => {
        for (const _command of commands) {
          await vm.exec(['/bin/true']);
        }
      }),
    );
  }
  print({
    name: `${AT_ONCE} at once`,
    ours: many.together,
    baseline: { name: `${AT_ONCE} in turn`, times: many.inTurn },
  });
  verdict('exec against ssh', times.exec, times.ssh, 0.75);
  verdict('at once against in turn', many.together, many.inTurn, 1);
} finally {
  execFileSync('ssh', [...options, '-O', 'exit', 'root@guest'], { stdio: 'ignore' });
}

function verdict(what: string, ours: readonly number[], baseline: readonly number[], target: number): void {
  const ratio = percentile(ours, 50) / percentile(baseline, 50);
  console.log(`${what}: p50 ${ratio.toFixed(2)} x, target ${target} x ${ratio <= target ? 'met' : 'MISSED'}`);
}
