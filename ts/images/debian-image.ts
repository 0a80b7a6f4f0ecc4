import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DebianImage } from '../config/debian.js';
import { isSmartVMError, SmartVMError } from '../errors.js';
import { throwIfCanceled } from '../util/deadline.js';
import { type RunOptions, requireTools, run } from '../util/run.js';
import { archivesOf, debianSources, hostAptSettings } from './apt-sources.js';
import { buildSandboxTools, runInBuildSandbox } from './build-sandbox.js';
import type { Arch, ImageContent, ImageInputs, ProgressListener } from './image-types.js';
import { moduleMembers } from './initramfs.js';
import { selectModules } from './kernel-modules.js';
import { unpackKernel } from './kernel-unpack.js';
import { withoutSignature } from './modinfo.js';
import type { BlobRef } from './store/blobs.js';
import type { BuildSession } from './store/build-session.js';

/** Raised with every change to what the functions here build: an image made by another recipe is built again. */
export const DEBIAN_RECIPE = 'debian-6';

const DEBIAN_ARCH = { x86_64: 'amd64', aarch64: 'arm64' } as const;
/** In every image, beside what its reference asks for. */
const PACKAGES = ['ca-certificates', 'iproute2', 'kmod', 'systemd-sysv'];

/**
 * `reboot=k`: a guest's reboot ends Firecracker. `panic=-1`: a panic does too, at once. `cryptomgr.notests` saves 0.2 s of self-tests under emulation.
 * The i8042 and 8250 settings keep the kernel from looking for a mouse and further serial ports; the keyboard that Ctrl-Alt-Del needs stays.
 */
const BOOT_ARGS = {
  x86_64:
    'console=ttyS0 reboot=k panic=-1 quiet cryptomgr.notests 8250.nr_uarts=1 i8042.noaux i8042.nomux i8042.dumbkbd',
  // Firecracker's serial port is ttyS0, that of QEMU's `virt` machine ttyAMA0; the kernel uses what is there.
  aarch64: 'console=ttyS0 console=ttyAMA0 reboot=k panic=-1 quiet cryptomgr.notests',
} as const;

/** Where the modules are depends on whether /lib is a link to /usr/lib in this suite. */
const COPY_MODULES = `set -eu; for lib in lib usr/lib; do
if [ -d "$1/$lib/modules" ]; then cp -a "$1/$lib/modules" "$SMARTVM_WORK/lib"; fi; done`;

/** Takes away what the build left or took from the host. mmdebstrap runs it with sh, the root file system's folder as $1. */
const CLEAN_ROOT = `set -eu; cd "$1"
rm -f etc/apt/apt.conf.d/99mmdebstrap var/lib/dpkg/*-old var/cache/debconf/*-old var/log/*.log var/log/apt/*
sed -i 's#://[^/ ]*@#://#' etc/apt/sources.list
: > etc/resolv.conf
echo localhost > etc/hostname
printf '127.0.0.1\\tlocalhost\\n::1\\tlocalhost ip6-localhost ip6-loopback\\n' > etc/hosts`;

/** The steps of mmdebstrap that take their time. */
const TOLD = /^I: ((?:running apt-get update|downloading|extracting|installing).*)$/gm;

const BANNER = 'Linux version ';
const KERNEL_VERSION = /^[^\n\0]* Debian (\S+) \(/;
/** A stanza of dpkg's status; its first fields are these. */
const INSTALLED = /^Package: (\S+)\n(?:\S[^\n]*\n| [^\n]*\n)*?Version: (\S+)$/gm;

type Kernel = Awaited<ReturnType<typeof writeKernel>>;

export interface DebianBuild {
  readonly debian: DebianImage;
  /** sources.list(5). */
  readonly sources: string;
  readonly arch: Arch;
  readonly session: BuildSession;
  readonly onProgress: ProgressListener;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Builds a `debian` image: Debian's cloud kernel and a minimal Debian root file system with the packages that are asked for, all
 * fetched and verified by apt. The same packages give the same digest.
 * @throws SmartVMError TOOL_MISSING, CANCELED, INVALID_OPTION, IMAGE_BUILD_FAILED
 */
export async function buildDebianImage(
  debian: DebianImage,
  options: Omit<DebianBuild, 'debian' | 'sources'>,
): Promise<ImageContent> {
  await requireTools(['mmdebstrap', 'mksquashfs', 'apt-get', ...buildSandboxTools()]);
  const build: DebianBuild = { ...options, debian, sources: await debianSources(debian) };
  try {
    await writeFile(join(build.session.workDirectory, 'apt.conf'), await hostAptSettings(), { mode: 0o600 });
    const release = await fetchKernel(build);
    const kernel = await writeKernel(build, release);
    const moduleTree = await packModules(build, release, kernel.date);
    const rootfs = await makeRoot(build, kernel.date);
    return {
      kernelRelease: release,
      bootArgs: BOOT_ARGS[build.arch],
      fsType: 'squashfs',
      blobs: { kernel: kernel.image, modules: kernel.modules, moduleTree, rootfs },
      inputs: await inputsOf(build, kernel),
    };
  } catch (error) {
    throwIfCanceled(options.signal, 'building the debian image');
    if (isSmartVMError(error, 'TOOL_MISSING')) {
      throw error;
    }
    const { message } = error as Error;
    throw new SmartVMError('IMAGE_BUILD_FAILED', `the debian image could not be built: ${message}`, { cause: error });
  }
}

/** Unpacks the kernel's package to boot/ and lib/modules/ of the work folder, and gives the kernel's release. */
async function fetchKernel(build: DebianBuild): Promise<string> {
  const name = `linux-image-cloud-${DEBIAN_ARCH[build.arch]}`;
  build.onProgress({ step: 'kernel', message: `fetching ${name} with apt` });
  await mkdir(join(build.session.workDirectory, 'lib'));
  await mmdebstrap(build, 'kernel', [
    '--variant=extract',
    '--format=null',
    `--include=${name}`,
    '--extract-hook=copy-out /boot .',
    `--extract-hook=${COPY_MODULES}`,
    build.debian.suite,
    '/dev/null',
  ]);
  const [release] = await readdir(join(build.session.workDirectory, 'lib/modules'));
  if (!release) {
    throw new Error(`${name} has no modules`);
  }
  await run('depmod', ['--basedir', build.session.workDirectory, release], toolOptions(build)).catch(
    (error: unknown) => {
      if (!isSmartVMError(error, 'TOOL_MISSING')) {
        throw error;
      }
      build.onProgress({
        step: 'kernel',
        message: 'depmod is not installed: modprobe in the guest will not find modules',
      });
    },
  );
  return release;
}

/** Puts the kernel, and the modules that its initramfs has, into the store. */
async function writeKernel(build: DebianBuild, release: string) {
  build.onProgress({ step: 'kernel', message: `unpacking kernel ${release}` });
  const packed = join(build.session.workDirectory, 'boot', `vmlinuz-${release}`);
  const unpacked = await unpackKernel(await readFile(packed), build.arch);
  const image = await build.session.putBytes(unpacked);
  const selected = await selectModules(join(build.session.workDirectory, 'lib/modules', release), release);
  // apt has verified them: the guest's kernel need not do it again, at 5 ms a module under emulation.
  const unsigned = selected.map((module) => ({ ...module, data: withoutSignature(module.data) }));
  const modules = await build.session.putBytes(moduleMembers(unsigned));
  const version = versionOf(unpacked);
  return { image, modules, version, date: Math.floor((await stat(packed)).mtimeMs / 1000) };
}

/** The version of a kernel's package, from the banner that /proc/version shows. */
function versionOf(kernel: Buffer): string | undefined {
  for (let at = kernel.indexOf(BANNER); at >= 0; at = kernel.indexOf(BANNER, at + 1)) {
    const [, version] = KERNEL_VERSION.exec(kernel.toString('latin1', at, at + 512)) ?? [];
    if (version !== undefined) {
      return version;
    }
  }
  return undefined;
}

/** What the root file system says that it was made of. */
async function inputsOf({ debian, sources, session }: DebianBuild, { version, date }: Kernel): Promise<ImageInputs> {
  const status = await readFile(join(session.workDirectory, 'root/var/lib/dpkg/status'), 'utf8');
  const packages = [...status.matchAll(INSTALLED)].map(([, name = '', version = '']) => [name, version] as const);
  return {
    suite: debian.suite,
    archives: archivesOf(sources),
    packages: Object.fromEntries(packages.toSorted(([a], [b]) => (a < b ? -1 : 1))),
    kernel: version,
    sourceDateEpoch: date,
  };
}

/** All modules as a drive, for guests that have this kernel and a root file system that was made for any. Few are ever read: it is compressed. */
async function packModules(build: DebianBuild, release: string, sourceDateEpoch: number): Promise<BlobRef> {
  const [folder, file] = [join(build.session.workDirectory, 'lib/modules', release), build.session.newFile()];
  const options = toolOptions(build, { SOURCE_DATE_EPOCH: String(sourceDateEpoch) });
  await runInBuildSandbox('mksquashfs', [folder, file, '-noappend', '-quiet', '-no-progress', '-all-root'], options);
  return await build.session.putFile(file);
}

/** The same packages give the same bytes: no file is newer than the kernel, and none has a trace of this build. */
async function makeRoot(build: DebianBuild, sourceDateEpoch: number): Promise<BlobRef> {
  build.onProgress({
    step: 'rootfs',
    message: `making the root file system of Debian ${build.debian.suite} (about half a minute)`,
  });
  const environment = { SOURCE_DATE_EPOCH: String(sourceDateEpoch) };
  const root = join(build.session.workDirectory, 'root');
  await mmdebstrap(
    build,
    'rootfs',
    [
      '--variant=minbase',
      '--format=directory',
      `--include=${[...PACKAGES, ...build.debian.packages].join(',')}`,
      '--customize-hook=copy-in lib/modules /usr/lib',
      `--customize-hook=${CLEAN_ROOT}`,
      build.debian.suite,
      root,
    ],
    environment,
  );
  build.onProgress({ step: 'rootfs', message: 'packing it as squashfs' });
  const image = build.session.newFile();
  // Uncompressed: unpacking costs more than reading, most of all under emulation.
  const plain = ['-noappend', '-quiet', '-no-progress', '-noI', '-noD', '-noF', '-noX'];
  // Only root can make device nodes; the guest's kernel fills /dev in any case.
  const emptyDev = ['-p', `dev D ${sourceDateEpoch} 755 0 0`, '-e', 'dev'];
  await runInBuildSandbox('mksquashfs', [root, image, ...plain, ...emptyDev], toolOptions(build, environment));
  return await build.session.putFile(image);
}

async function mmdebstrap(build: DebianBuild, step: string, args: string[], environment = {}): Promise<void> {
  const [suite, target] = args.slice(-2) as [string, string];
  const common = ['--mode=root', `--architectures=${DEBIAN_ARCH[build.arch]}`, '--aptopt=apt.conf'];
  const options = toolOptions(build, environment);
  await runInBuildSandbox('mmdebstrap', [...common, ...args.slice(0, -2), suite, target, '-'], {
    ...options,
    network: true,
    input: build.sources,
    onStderr: (text) => {
      for (const [, message = ''] of text.matchAll(TOLD)) {
        build.onProgress({ step, message });
      }
    },
  });
}

function toolOptions(build: DebianBuild, environment: NodeJS.ProcessEnv = {}): RunOptions {
  // The work folder as TMPDIR: whatever a killed tool leaves is removed with it.
  const env = {
    ...process.env,
    TMPDIR: build.session.workDirectory,
    SMARTVM_WORK: build.session.workDirectory,
    ...environment,
  };
  return { cwd: build.session.workDirectory, env, signal: build.signal };
}
