import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { inRoot, packageJson, ROOT, tool } from './package.mjs';
import { Failure, PATH, run } from './process.mjs';
import { say } from './say.mjs';

const QUIET = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
/** The package is ESM alone. */
const NOT_SERVED = ['node10', 'node16-cjs'];

const CONSUMER = `import { SmartVM, isSmartVMError, type MicroVM } from 'smartvm';
const vm: MicroVM = await new SmartVM().launch({ image: 'debian' });
const code: number | null = (await vm.exec(['true'])).exitCode;
export { code, isSmartVMError };
`;

/** The package as npm would publish it, installed globally where nothing else of the clone is, and no Go. */
export async function checkPackage() {
  const folder = mkdtempSync(join(tmpdir(), 'smartvm-pack-'));
  try {
    const tarball = await pack(folder);
    await run(process.execPath, [tool('publint'), 'run', tarball, '--strict'], { cwd: folder });
    await checkTypes(tarball);
    const installed = await installGlobally(tarball, folder);
    await checkUse(installed);
    await checkRun(installed);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function pack(folder) {
  const args = ['pack', '--json', '--pack-destination', folder, ...QUIET];
  const { stdout } = await run('npm', args, { cwd: ROOT, stdout: true });
  const [{ filename, size, unpackedSize, files }] = JSON.parse(stdout);
  const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
  say(`${filename}: ${megabytes(size)}, unpacked ${megabytes(unpackedSize)} in ${files.length} files`);
  const stray = files
    .map(({ path }) => path)
    .filter((path) => /(^|\/)(test|ts|go|node_modules|\.[^/]*)\/|\.test\./.test(path));
  if (stray.length > 0) {
    throw new Failure(`the package has what is not for its users: ${stray.join(', ')}`);
  }
  const sums = JSON.parse(readFileSync(inRoot('dist/bin/checksums.json'), 'utf8'));
  const executable = files.filter(({ mode }) => (mode & 0o111) === 0o111).map(({ path }) => path);
  const lacking = Object.keys(sums).filter((name) => !executable.includes(`dist/bin/${name}`));
  if (lacking.length > 0) {
    throw new Failure(`the package lacks programs, or they are not executable: ${lacking.join(', ')}`);
  }
  return join(folder, filename);
}

/** What arethetypeswrong.github.io looks for, for those who import the package. */
async function checkTypes(tarball) {
  const { checkPackage: analyse, createPackageFromTarballData } = await import('@arethetypeswrong/core');
  const { types, problems } = await analyse(createPackageFromTarballData(readFileSync(tarball)));
  const serious = (problems ?? []).filter(({ resolutionKind }) => !NOT_SERVED.includes(resolutionKind));
  if (!types || serious.length > 0) {
    throw new Failure(`the types of the package are wrong: ${types ? JSON.stringify(serious, null, 2) : 'none'}`);
  }
}

/** `npm install --global`, and an environment in which Go must not be asked for. */
async function installGlobally(tarball, folder) {
  const prefix = join(folder, 'prefix');
  const decoys = join(folder, 'decoys');
  const goWasRun = join(folder, 'go-was-run');
  mkdirSync(decoys);
  writeFileSync(join(decoys, 'go'), `#!/bin/sh\necho "$@" >> ${goWasRun}\nexit 1\n`, { mode: 0o755 });
  const env = { PATH: [decoys, PATH].join(delimiter), SMARTVM_RUNTIME_DIR: join(folder, 'run') };
  const args = ['install', '--global', '--prefix', prefix, '--prefer-offline', ...QUIET, tarball];
  await run('npm', args, { cwd: folder, env });
  const smartvm = (...words) => run(join(prefix, 'bin/smartvm'), words, { cwd: folder, env, check: false });
  return { prefix, modules: join(prefix, 'lib'), smartvm, env, goWasRun };
}

async function checkUse({ prefix, modules, smartvm, env }) {
  const { stdout } = await smartvm('--version');
  expectText(stdout.trim(), packageJson().version, 'smartvm --version of the installed package');
  if (!existsSync(join(prefix, 'share/man/man1/smartvm.1'))) {
    throw new Failure('the manual page was not installed');
  }
  const use = "await import('smartvm').then(({ SmartVM }) => new SmartVM())";
  await run(process.execPath, ['--input-type=module', '--eval', use], { cwd: modules, env });
  const source = join(modules, 'consumer.mts');
  writeFileSync(source, CONSUMER);
  // Of the clone's types, those alone that whoever writes for Node has.
  mkdirSync(join(modules, 'node_modules/@types'));
  symlinkSync(inRoot('node_modules/@types/node'), join(modules, 'node_modules/@types/node'));
  const options = [
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2022',
    '--lib',
    'es2023,esnext.disposable',
  ];
  await run(process.execPath, [tool('tsc'), ...options, source], { cwd: modules });
}

/** Boots a VM, and sees that a damaged program is not run. */
async function checkRun({ modules, smartvm, goWasRun }) {
  const { defaultDataDir } = await import(inRoot('dist/config/directories.js'));
  const cache = join(defaultDataDir(), 'images/initramfs');
  const before = existsSync(cache) ? readdirSync(cache) : undefined;
  try {
    const { code, output } = await smartvm('run', '--', 'uname', '-s');
    expectText(`${code} ${output.trim().split('\n').at(-1)}`, '0 Linux', 'smartvm run of the installed package');
    const keeper = `smartvm-keeper-${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}`;
    appendFileSync(join(modules, 'node_modules/smartvm/dist/bin', keeper), 'x');
    const damaged = await smartvm('run', '--', 'true');
    if (damaged.code !== 125 || !/install --global smartvm \[PACKAGE_DAMAGED\]/.test(damaged.output)) {
      throw new Failure(`a damaged keeper was not found: exit code ${damaged.code}: ${damaged.output}`);
    }
  } finally {
    removeIndex(cache, before);
  }
  if (existsSync(goWasRun)) {
    throw new Failure(`the installed package ran: go ${readFileSync(goWasRun, 'utf8')}`);
  }
}

/** The cache of initramfs notes for each agent's path which file is of it; this one's path is about to go. */
function removeIndex(cache, before) {
  if (before !== undefined) {
    const made = readdirSync(cache).filter((name) => name.endsWith('.json') && !before.includes(name));
    for (const name of made) {
      rmSync(join(cache, name), { force: true });
    }
  }
}

function expectText(found, expected, what) {
  if (found !== expected) {
    throw new Failure(`${what}: expected '${expected}', found '${found}'`);
  }
}
