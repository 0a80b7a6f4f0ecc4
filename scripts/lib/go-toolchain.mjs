import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { chmod, mkdir, rename, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { interruption } from './interrupt.mjs';
import { inRoot, sha256 } from './package.mjs';
import { Failure, PATH, run, which } from './process.mjs';
import { say } from './say.mjs';
import { unzip } from './zip.mjs';

const DEFAULT_PROXY = 'https://proxy.golang.org';

/** The Go that is fetched where there is none or an older one, with the SHA-256 of its archive on the Go module proxy. */
const PINNED = {
  version: '1.26.8',
  sha256: {
    amd64: '30c2b1bf7dcc88d3eb0a1364e47ddd9128edb3110a30e8a0ef61cd5856b31de7',
    arm64: '02b36b6787b3ac767668f630e2998df45a3b1f9ffee08d1bf3ef6487cd658d99',
  },
};

/** The environment in which `go` is a Go that can build go/: the machine's own where it is new enough, else the pinned one. */
export async function goEnvironment() {
  const goRoot = (await hasOwnGo()) ? undefined : await pinnedGo();
  return {
    PATH: goRoot ? [join(goRoot, 'bin'), PATH].join(delimiter) : PATH,
    GOROOT: goRoot ?? process.env.GOROOT,
    HOME: homedir(),
    GOTOOLCHAIN: 'local',
    GOFLAGS: '-mod=readonly -buildvcs=false',
    CGO_ENABLED: '0',
  };
}

async function hasOwnGo() {
  if (!which('go')) {
    return false;
  }
  const wanted = /^go (\S+)/m.exec(readFileSync(inRoot('go/go.mod'), 'utf8'))[1];
  const { stdout } = await run('go', ['env', 'GOVERSION'], { cwd: '/', env: { GOTOOLCHAIN: 'local' }, check: false });
  return isAtLeast(/^go(\d+\.\d+(?:\.\d+)?)/.exec(stdout)?.[1] ?? '0', wanted);
}

function isAtLeast(version, wanted) {
  const [has, needs] = [version, wanted].map((text) => text.split('.').map(Number));
  const index = needs.findIndex((part, i) => part !== (has[i] ?? 0));
  return index < 0 || (has[index] ?? 0) > needs[index];
}

/** The folder of the pinned toolchain, fetched once a user. */
async function pinnedGo() {
  const arch = process.arch === 'arm64' ? 'arm64' : 'amd64';
  const name = `go${PINNED.version}.linux-${arch}`;
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'smartvm');
  const folder = join(cache, name);
  if (existsSync(folder)) {
    return folder;
  }
  await mkdir(cache, { recursive: true });
  removeLeftovers(cache);
  say(`fetching Go ${PINNED.version} (70 MB, once)`);
  const archive = await download(`${proxy()}/golang.org/toolchain/@v/v0.0.1-${name}.zip`);
  if (sha256(archive) !== PINNED.sha256[arch]) {
    throw new Failure(`the Go toolchain from ${proxy()} has a wrong SHA-256: it is not used`);
  }
  const partial = join(cache, `${name}.partial-${process.pid}`);
  try {
    await unpack(archive, `golang.org/toolchain@v0.0.1-${name}/`, partial);
    await rename(partial, folder).catch((error) => {
      // Another clone's set-up was faster: its toolchain is the same.
      if (!existsSync(folder)) {
        throw error;
      }
    });
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
  return folder;
}

/** The first entry of GOPROXY, which is what `go` itself would ask. */
function proxy() {
  const first = (process.env.GOPROXY ?? '').split(/[,|]/)[0].trim();
  return /^https?:/.test(first) ? first.replace(/\/+$/, '') : DEFAULT_PROXY;
}

async function download(url) {
  try {
    const response = await fetch(url, { signal: interruption });
    if (response.status !== 200) {
      throw new Error(`it answered ${response.status}`);
    }
    return Buffer.from(await response.arrayBuffer());
  } catch (error) {
    interruption.throwIfAborted();
    const why = error.cause?.message ?? error.message;
    throw new Failure(
      `${url} could not be fetched: ${why}\nOr install Go ${PINNED.version} or later: https://go.dev/dl`,
    );
  }
}

/** Unpacks a toolchain module as `go` does: programs made executable, and `_go.mod`, which a module cannot hold, renamed. */
async function unpack(archive, prefix, target) {
  const folders = new Set();
  for (const { name, data } of unzip(archive)) {
    interruption.throwIfAborted();
    if (!name.startsWith(prefix) || name.split('/').includes('..')) {
      throw new Failure(`the Go toolchain has an unexpected file: ${name}`);
    }
    const path = name.slice(prefix.length);
    const file = join(target, path.replace(/(^|\/)_go\.mod$/, '$1go.mod'));
    if (!folders.has(dirname(file))) {
      await mkdir(dirname(file), { recursive: true });
      folders.add(dirname(file));
    }
    await writeFile(file, data);
    if (/^(bin|pkg\/tool)\//.test(path)) {
      await chmod(file, 0o755);
    }
  }
}

/** What set-ups that were killed left behind. */
function removeLeftovers(cache) {
  for (const name of readdirSync(cache)) {
    const pid = /\.partial-(\d+)$/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) {
      rmSync(join(cache, name), { recursive: true, force: true });
    }
  }
}
