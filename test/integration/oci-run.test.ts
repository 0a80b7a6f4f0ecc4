import { copyFile, mkdir, symlink, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../../ts/util/run.js';
import { Smartvm } from '../support/cli.js';
import { type Bench, openBench } from '../support/debian-vm.js';
import { addImage, busybox, busyboxTree } from '../support/oci-image.js';
import { type Registry, startRegistry } from '../support/registry.js';
import { type ScratchDirectory, scratchDirectory } from '../support/scratch.js';

const BUILD_TIMEOUT_MS = 600_000;

let scratch: ScratchDirectory;
let registry: Registry;
let bench: Bench;
const images: string[] = [];

/** The archive of a folder, everything owned by root. */
async function archive(folder: string): Promise<Buffer> {
  const owner = ['--owner=0', '--group=0', '--numeric-owner', '--sort=name', '--mtime=@1000000'];
  return await run('tar', ['--create', '--directory', folder, ...owner, '.']);
}

const app = () => `oci:${registry.host}/team/app:v1`;

async function pushApp(): Promise<void> {
  const [source, target] = [`${scratch.file('layout')}:v1`, app().slice('oci:'.length)];
  await run('skopeo', ['copy', '--dest-tls-verify=false', `oci:${source}`, `docker://${target}`]);
}

/** Puts an image into the registry whose command says all that it has of the image's configuration. */
async function makeApp(): Promise<void> {
  const tree = scratch.file('app');
  await busyboxTree(tree, ['sh', 'insmod', 'ip', 'cat', 'id', 'uname', 'ls', 'pwd']);
  await mkdir(scratch.file('app', 'etc'));
  await writeFile(scratch.file('app', 'etc/passwd'), 'root:x:0:0::/:/bin/sh\napp:x:1000:1000::/srv:/bin/sh\n');
  await writeFile(scratch.file('app', 'etc/group'), 'root:x:0:\napp:x:1000:\nstaff:x:50:\n');
  await mkdir(scratch.file('app', 'run/app'), { recursive: true });
  const script = 'echo "$GREETING from $(id -u):$(id -g) in $(pwd) with $0 $*"; ls /run; exit 42';
  await addImage(scratch.file('layout'), 'v1', {
    layers: [await archive(tree)],
    config: [
      ...['--config.env', 'GREETING=hello', '--config.env', 'PATH=/bin', '--config.user', 'app:staff'],
      ...['--config.workingdir', '/srv/data', '--config.entrypoint', '/bin/sh', '--config.entrypoint', '-c'],
      ...['--config.entrypoint', script, '--config.cmd', 'default', '--config.cmd', 'words'],
      ...['--config.exposedports', '8080/tcp', '--config.stopsignal', 'SIGINT'],
    ],
  });
  await pushApp();
}

beforeAll(async () => {
  scratch = await scratchDirectory();
  registry = await startRegistry();
  bench = await openBench();
  await bench.smartvm.imageManager.resolve('debian'); // for its kernel
  await makeApp();
  images.push(app());
}, BUILD_TIMEOUT_MS);
afterAll(async () => {
  await bench?.[Symbol.asyncDispose]();
  for (const name of images) {
    await bench.smartvm.imageManager.remove(name).catch(() => undefined);
  }
  await registry?.[Symbol.asyncDispose]();
  await scratch?.[Symbol.asyncDispose]();
});

describe.runIf(process.arch === 'x64')('a VM of an OCI image', () => {
  it("pulls it, boots it, and runs its command with its environment, user and directory; the kernel's modules are there", async () => {
    const image = app();
    registry.takeRequests();
    const vm = await bench.smartvm.launch({ image });
    expect(registry.takeRequests().filter((line) => line.includes('/blobs/'))).not.toEqual([]);
    expect(vm.imageConfig).toMatchObject({ user: 'app:staff', exposedPorts: ['8080/tcp'], stopSignal: 'SIGINT' });
    expect(await vm.exec(vm.imageCommand())).toMatchObject({
      stdout: 'hello from 1000:50 in /srv/data with default words\napp\n',
      stderr: '',
      exitCode: 42,
    });
    const other = await vm.exec(vm.imageCommand({ args: ['other'] }));
    expect(other.stdout).toContain('with other \n');
    const own = await vm.exec(['sh', '-c', 'echo $GREETING; id -u; pwd'], {
      ...{ user: 'root', cwd: '/', env: { GREETING: 'bye' } },
    });
    expect(own.stdout).toBe('bye\n0\n/\n');
    const root = { user: 'root' };
    const load = 'insmod /lib/modules/$(uname -r)/kernel/fs/fuse/fuse.ko && cat /sys/module/fuse/initstate';
    expect(await vm.exec(['sh', '-c', load], root)).toMatchObject({ stdout: 'live\n', stderr: '' });
    // The image has no modprobe: the kernel asks the agent.
    const dummy = 'test ! -e /sys/module/dummy && ip link add own0 type dummy && cat /sys/module/dummy/initstate';
    expect(await vm.exec(['sh', '-c', dummy], root)).toMatchObject({ stdout: 'live\n', stderr: '' });
    expect((await vm.exec(['cat', '/etc/hostname'])).stdout).toBe(`${vm.id}\n`);
    await vm.stop({ force: true });
    expect(await bench.leftovers()).toEqual([]);
  });

  it('is asked for anew by `--pull always`: what is shared is not fetched, and nothing where it is the same', async () => {
    const { imageManager } = bench.smartvm;
    const image = app();
    const { digest: first } = await imageManager.resolve(image);
    registry.takeRequests();
    const { digest } = await imageManager.resolve(image, { refresh: true });
    expect(digest).toBe(first);
    const requests = registry.takeRequests();
    expect(requests.filter((line) => line.includes('/manifests/'))).not.toEqual([]);
    expect(requests.filter((line) => line.includes('/blobs/'))).toEqual([]);

    // Another image by the same name.
    const layout = `${scratch.file('layout')}:v1`;
    await run('umoci', ['config', '--image', layout, '--no-history', '--config.env', 'GREETING=good morning']);
    await pushApp();
    registry.takeRequests();
    await using cli = await Smartvm.open();
    expect((await imageManager.resolve(image)).digest).toBe(first);
    expect(registry.takeRequests()).toEqual([]);
    const { stdout, exitCode } = await cli.run(['run', '--image', image, '--pull', 'always', '--', 'more']);
    expect(stdout).toMatch(/^good morning from .* with more \napp\n$/);
    expect(exitCode).toBe(42);
    expect(registry.takeRequests().filter((line) => /^GET .*\/blobs\//.test(line))).toHaveLength(1); // the configuration
    expect(await cli.leftovers()).toEqual([]);
  });

  it('needs nothing of the image but a program: no shell, no users, folders that nobody may write', async () => {
    await addImage(scratch.file('layout'), 'static', {
      layers: [
        [
          { name: 'etc/', type: '5', mode: 0o555 },
          { name: 'init', data: 'not a program', mode: 0o644 },
          { name: 'dev/', type: '5' },
          { name: 'dev/console', type: '3', device: [5, 1] },
          { name: 'proc', data: 'a file in the way of nothing' },
        ],
        [{ name: '.wh.proc' }],
      ],
      config: ['--config.entrypoint', '/busybox', '--config.user', '65532'],
    });
    await mkdir(scratch.file('static'));
    await copyFile(await busybox(), scratch.file('static', 'busybox'));
    const layer = scratch.file('static.tar');
    await writeFile(layer, await archive(scratch.file('static')));
    await run('umoci', ['raw', 'add-layer', '--image', `${scratch.file('layout')}:static`, layer]);
    const image = `oci:${scratch.file('layout')}#static`;
    images.push(image);
    const vm = await bench.smartvm.launch({ image });
    expect(await vm.exec(vm.imageCommand({ args: ['id', '-u'] }))).toMatchObject({ stdout: '65532\n', exitCode: 0 });
    await vm.stop({ force: true });
  });
});

describe.runIf(process.arch === 'x64')('smartvm run', () => {
  const smartvm = async (...args: string[]) => {
    const error = await run('bin/smartvm', ['run', ...args]).catch((reason: unknown) => reason);
    return Buffer.isBuffer(error) ? { stdout: error.toString(), exitCode: 0 } : (error as { details: object }).details;
  };

  it("runs an image's own command, arguments in place of its Cmd, or another entrypoint", async () => {
    const tree = scratch.file('cli');
    await busyboxTree(tree, ['echo', 'false']);
    await addImage(scratch.file('layout'), 'cli', {
      layers: [await archive(tree)],
      config: ['--config.entrypoint', '/bin/echo', '--config.entrypoint', 'says', '--config.cmd', 'this'],
    });
    const image = `oci:${scratch.file('layout')}#cli`;
    images.push(image);
    expect(await smartvm('--image', image)).toEqual({ stdout: 'says this\n', exitCode: 0 });
    expect(await smartvm('--image', image, '--', 'that')).toEqual({ stdout: 'says that\n', exitCode: 0 });
    expect(await smartvm('--image', image, '--entrypoint', '/bin/false')).toMatchObject({ exitCode: 1 });
    expect(await smartvm()).toMatchObject({ exitCode: 125 });
  });

  it('boots a plain folder, and another one once something in it has changed', async () => {
    const tree = scratch.file('tree');
    await busyboxTree(tree, ['cat']);
    await writeFile(scratch.file('tree', 'note'), 'one');
    await symlink('note', scratch.file('tree', 'link'));
    images.push(tree);
    expect(await smartvm('--image', tree, '--', 'cat', '/link')).toEqual({ stdout: 'one', exitCode: 0 });
    await writeFile(scratch.file('tree', 'note'), 'two');
    expect(await smartvm('--image', tree, '--', 'cat', '/link')).toEqual({ stdout: 'two', exitCode: 0 });
  });
});
