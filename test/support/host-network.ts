// What the tests leave of the host's network is what they found: each makes namespaces of its own.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const WAIT_MS = 10_000;
const COMMANDS = [
  ['ip', '-br', 'link'],
  ['ip', 'route', 'show', 'table', 'all'],
  ['ip', 'rule'],
  ['nft', '-s', 'list', 'ruleset'],
] as const;
const SYSCTLS = ['ipv4/ip_forward', 'ipv6/conf/all/forwarding', 'ipv6/conf/default/accept_ra'];

/** The lines that a tool prints; none on a host without it. */
function linesOf(tool: string, ...args: string[]): string[] {
  try {
    return execFileSync(tool, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
      .split('\n')
      .filter(Boolean);
  } catch {
    return [];
  }
}

/** Those in which nobody is: others of this host may have theirs meanwhile. */
function emptyNamespaces(): string[] {
  const names = linesOf('ip', 'netns').map((line) => line.split(' ')[0] ?? '');
  return names.filter((name) => linesOf('ip', 'netns', 'pids', name).length === 0);
}

/** Each thing by itself. */
function things(): Set<string> {
  const listed = COMMANDS.flatMap(([tool, ...args]) =>
    linesOf(tool, ...args).map((line) => `${tool} ${args.join(' ')}: ${line.trim()}`),
  );
  listed.push(...emptyNamespaces().map((name) => `ip netns: ${name}`));
  const told = SYSCTLS.map((name) => `${name} = ${readFileSync(`/proc/sys/net/${name}`, 'utf8').trim()}`);
  return new Set([...listed, ...told]);
}

function difference(before: ReadonlySet<string>, now: ReadonlySet<string>): string[] {
  return [
    ...[...now].filter((one) => !before.has(one)).map((one) => `left: ${one}`),
    ...[...before].filter((one) => !now.has(one)).map((one) => `gone: ${one}`),
  ];
}

/** Of vitest: runs before all tests of a project, and what it gives behind them. */
export default function setup(): (() => Promise<void>) | undefined {
  if (process.getuid?.() !== 0) {
    return undefined;
  }
  const before = things();
  return async () => {
    // The kernel takes a namespace apart some moments after its last process.
    for (const deadline = Date.now() + WAIT_MS; ; await new Promise((resolve) => setTimeout(resolve, 50))) {
      const left = difference(before, things());
      if (left.length === 0) {
        return;
      }
      if (Date.now() > deadline) {
        process.exitCode = 1; // vitest prints what is thrown here, and no more
        throw new Error(`the tests have changed the network of this host:\n${left.join('\n')}`);
      }
    }
  };
}
