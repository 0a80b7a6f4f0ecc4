import { formatGuestAddress } from '../ports/address.js';
import type { HttpWait, Wait } from './types.js';

/** Of what the guest says, this much goes into a message. */
const MAX_WORDS = 1_000;

/** What is waited for, in words of a message. Arguments of commands may be secrets. */
export function describeWait(wait: Exclude<Wait, { readonly kind: 'all' | 'any' }>): string {
  switch (wait.kind) {
    case 'agent':
      return 'the agent of the guest';
    case 'port':
      return 'path' in wait.address ? `socket ${wait.address.path}` : `port ${formatGuestAddress(wait.address)}`;
    case 'http':
      return describeHttp(wait);
    case 'log-line':
      return `console line ${wait.match instanceof RegExp ? wait.match : JSON.stringify(wait.match)}`;
    case 'command':
      return `command ${programOf(wait.command)}`;
  }
}

function describeHttp({ method = 'GET', host, port = 0, socketPath, path = '/' }: HttpWait): string {
  const [place] = path.split('?'); // what is asked may be a secret
  const server = socketPath === undefined ? formatGuestAddress({ host, port }) : `${socketPath} `;
  return `HTTP ${method} ${server}${place}`;
}

function programOf(command: string | readonly string[]): string {
  return (typeof command === 'string' ? command.trim().split(/\s/)[0] : command[0]) ?? '';
}

/** The end of what a guest has said, on one line and without what drives a terminal. */
export function tailWords(text: string): string {
  return JSON.stringify(text.trimEnd().slice(-MAX_WORDS));
}
