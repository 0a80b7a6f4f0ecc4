import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { goEnvironment } from './go-toolchain.mjs';
import { inRoot, packageJson, ROOT, readText, sha256, tool } from './package.mjs';
import { run } from './process.mjs';
import { say } from './say.mjs';

const DIST = inRoot('dist');
/** What dist was built from: a part is built again when its key differs. */
const STAMP = join(DIST, '.stamp.json');
const ARCHITECTURES = { x86_64: 'amd64', aarch64: 'arm64' };
/** The SHA-256 of every program: what is run is held against it. */
const SUMS = 'bin/checksums.json';

const PARTS = {
  typescript: {
    what: 'the TypeScript code',
    isWhole: () => ['index.js', 'cli/main.js'].every((path) => existsSync(join(DIST, path))),
    sources: () => [
      ...filesUnder('ts', /\.ts$/),
      'package.json',
      'package-lock.json',
      'tsconfig.json',
      'tsconfig.build.json',
    ],
    // The Go part's own folder is left as it is.
    kept: (name) => name === 'bin' || name.startsWith('.'),
    build: async (folder) => {
      await run(process.execPath, [tool('tsc'), '-p', 'tsconfig.build.json', '--outDir', folder], { cwd: ROOT });
    },
  },
  go: {
    what: `the programs in Go: ${commands().join(', ')}`,
    isWhole: programsAreWhole,
    sources: () => [
      ...filesUnder('go', /(?<!_test)\.go$|^go\.(mod|sum)$/),
      'package.json',
      'scripts/lib/build.mjs',
      'scripts/lib/go-toolchain.mjs',
    ],
    kept: (name) => name !== 'bin',
    build: buildGo,
  },
};

/**
 * Brings dist up to date. Each part is built aside and moved into place when it is whole, so a build that fails or is
 * interrupted leaves the last good one.
 */
export async function build() {
  for (const [name, part] of Object.entries(PARTS)) {
    const key = keyOf(part.sources());
    if (readStamp()[name] === key && part.isWhole()) {
      continue;
    }
    say(`building ${part.what}`);
    mkdirSync(DIST, { recursive: true });
    removeLeftovers();
    const folder = mkdtempSync(join(DIST, `.building-${process.pid}-`));
    try {
      await part.build(folder);
      writeStamp({ [name]: undefined });
      install(folder, part.kept);
      writeStamp({ [name]: key });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
}

/** Every folder of go/cmd is a program of the package. */
function commands() {
  return readdirSync(inRoot('go/cmd')).sort();
}

async function buildGo(folder) {
  const environment = await goEnvironment();
  const flags = ['-trimpath', '-ldflags', `-s -w -X main.version=${packageJson().version}`];
  mkdirSync(join(folder, 'bin'));
  const sums = {};
  for (const [arch, goArch] of Object.entries(ARCHITECTURES)) {
    const built = join(folder, arch);
    mkdirSync(built);
    await run('go', ['build', ...flags, '-o', `${built}/`, ...commands().map((command) => `./cmd/${command}`)], {
      cwd: inRoot('go'),
      env: { ...environment, GOOS: 'linux', GOARCH: goArch },
    });
    for (const command of commands()) {
      const name = `smartvm-${command}-${arch}`;
      renameSync(join(built, command), join(folder, 'bin', name));
      sums[name] = sha256(readFileSync(join(folder, 'bin', name)));
    }
    rmdirSync(built);
  }
  writeFileSync(join(folder, SUMS), `${JSON.stringify(sums, null, 2)}\n`);
}

/** One that was damaged, or built by hand, is built again. */
function programsAreWhole() {
  const sums = JSON.parse(readText(join(DIST, SUMS)) || '{}');
  return Object.keys(ARCHITECTURES).every((arch) =>
    commands().every((command) => {
      const name = `smartvm-${command}-${arch}`;
      const path = join(DIST, 'bin', name);
      return existsSync(path) && sha256(readFileSync(path)) === sums[name];
    }),
  );
}

/** Moves what was built into dist, file by file, and removes what is no longer built. No signal comes in between. */
function install(folder, kept) {
  const built = new Set(filesUnder(folder).map((path) => path.slice(folder.length + 1)));
  for (const path of built) {
    mkdirSync(dirname(join(DIST, path)), { recursive: true });
    renameSync(join(folder, path), join(DIST, path));
  }
  for (const path of filesUnder(DIST).map((path) => path.slice(DIST.length + 1))) {
    if (!kept(path.split('/')[0]) && !built.has(path)) {
      rmSync(join(DIST, path));
    }
  }
}

function keyOf(sources) {
  return sha256(...sources.sort().flatMap((path) => [path, '\0', readFileSync(inRoot(path)), '\0']));
}

/** Files below a folder whose names match, as the folder is given. */
function filesUnder(folder, pattern = /./) {
  return readdirSync(folder.startsWith('/') ? folder : inRoot(folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? filesUnder(path, pattern) : pattern.test(entry.name) ? [path] : [];
  });
}

function readStamp() {
  return JSON.parse(readText(STAMP) || '{}');
}

function writeStamp(changes) {
  const temporary = `${STAMP}.${process.pid}`;
  writeFileSync(temporary, JSON.stringify({ ...readStamp(), ...changes }));
  renameSync(temporary, STAMP);
}

/** What builds that were killed left behind. */
function removeLeftovers() {
  for (const name of readdirSync(DIST)) {
    const pid = /^\.(?:building-|stamp\.json\.)(\d+)/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) {
      rmSync(join(DIST, name), { recursive: true, force: true });
    }
  }
}
