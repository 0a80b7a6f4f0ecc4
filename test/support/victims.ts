import { readdir, readFile } from 'node:fs/promises';

/** What a program has started for a VM: found by the kernel's own list of its children, at any moment of the VM's life. */
export async function victimOf(which: 'keeper' | 'vmm', program = process.pid): Promise<number | undefined> {
  const children = await childrenOf(program);
  const names = await Promise.all(children.map(commandOf));
  const keeper = children.find((_pid, index) => /smartvm-(launch|keeper)/.test(names[index] ?? ''));
  return which === 'keeper' || keeper === undefined ? keeper : (await childrenOf(keeper))[0];
}

async function childrenOf(pid: number): Promise<number[]> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => []);
  const lists = threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/children`, 'utf8').catch(() => ''));
  return (await Promise.all(lists)).flatMap((list) => list.split(' ').filter(Boolean).map(Number));
}

async function commandOf(pid: number): Promise<string> {
  return (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0')[0] ?? '';
}
