// `npm run bench:guest`: commands and files of a Debian guest, beside OpenSSH's ssh and scp over a connection that is open already, to the
// same agent.
import { execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { readGuestAccess } from '../ts/guest/access.js';
import { AGENT_VSOCK_PORT } from '../ts/guest/handshake.js';
import { SmartVM } from '../ts/smartvm.js';
import { PACKAGE_ROOT } from '../ts/util/package-root.js';
import { percentile, print } from './statistics.js';

const RUNS = 100;
const AT_ONCE = 50;
const ROUNDS = 5;
const LARGE_BYTES = 64 * 1024 * 1024;
const SMALL_FILES = 1000;
const SMALL_BYTES = 2000;

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
  await measureFiles();
} finally {
  execFileSync('ssh', [...options, '-O', 'exit', 'root@guest'], { stdio: 'ignore' });
}

/** Into the guest's memory: its disk is not what is measured. */
async function measureFiles(): Promise<void> {
  const [large, tree] = [join(scratch, 'large'), join(scratch, 'tree')];
  writeFileSync(large, randomBytes(LARGE_BYTES));
  mkdirSync(tree);
  for (let index = 0; index < SMALL_FILES; index++) {
    writeFileSync(join(tree, `file-${index}`), randomBytes(SMALL_BYTES));
  }
  const run = promisify(execFile);
  const scp = (from: string, to: string) => run('scp', ['-q', ...options, from, to]);
  const shell = (script: string) => run('bash', ['-o', 'pipefail', '-c', script]);
  const remote = ['ssh', ...options, 'root@guest'].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
  const clear = () => vm.exec('rm -rf /dev/shm/*', { shell: true });
  const back = (name: string) => join(scratch, name);
  await vm.exec(['mount', '-o', 'remount,size=200m', '/dev/shm'], { reject: true });
  const compare = async (
    what: string,
    ours: () => Promise<unknown>,
    baseline: () => Promise<unknown>,
    name: string,
  ) => {
    const times: { ours: number[]; baseline: number[] } = { ours: [], baseline: [] };
    for (let round = 0; round < ROUNDS; round++) {
      times.ours.push(await time(ours));
      times.baseline.push(await time(baseline));
    }
    print({ name: what, ours: times.ours, baseline: { name, times: times.baseline } });
    verdict(`${what} against ${name}`, times.ours, times.baseline, what.includes('MiB') ? 1 / 0.9 : 1);
  };
  await compare(
    'upload of 64 MiB',
    () => vm.files.upload(large, '/dev/shm/a'),
    () => scp(large, 'root@guest:/dev/shm/a'),
    'scp',
  );
  await compare(
    'download of 64 MiB',
    () => vm.files.download('/dev/shm/a', back('a')),
    () => scp('root@guest:/dev/shm/a', back('b')),
    'scp',
  );
  await clear();
  let count = 0;
  await compare(
    `upload of ${SMALL_FILES} files`,
    () => vm.files.upload(tree, `/dev/shm/t${count++}`),
    () => shell(`tar -C '${tree}' -c . | ${remote} 'mkdir /dev/shm/t${count++} && tar -x -C /dev/shm/t${count - 1}'`),
    'tar | ssh',
  );
  await compare(
    `download of ${SMALL_FILES} files`,
    () => vm.files.download('/dev/shm/t0', back(`t${count++}`)),
    () =>
      shell(
        `mkdir '${back(`t${count++}`)}' && ${remote} 'tar -C /dev/shm/t0 -c .' | tar -x -C '${back(`t${count - 1}`)}'`,
      ),
    'ssh | tar',
  );
}

function verdict(what: string, ours: readonly number[], baseline: readonly number[], target: number): void {
  const ratio = percentile(ours, 50) / percentile(baseline, 50);
  console.log(`${what}: p50 ${ratio.toFixed(2)} x, target ${target} x ${ratio <= target ? 'met' : 'MISSED'}`);
}
