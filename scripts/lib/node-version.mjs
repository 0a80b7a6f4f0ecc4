// Loaded before anything else: says which Node is needed in words, where a newer syntax or module would fail obscurely.
import { readFileSync } from 'node:fs';

/** Ends this process when Node is older than package.json's `engines` asks for. */
export function requireNode() {
  const { engines } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  const wanted = engines.node.replace('>=', '');
  const [has, needs] = [process.versions.node, wanted].map((version) => version.split('.').map(Number));
  const index = needs.findIndex((part, i) => part !== has[i]);
  if (index >= 0 && has[index] < needs[index]) {
    process.stderr.write(
      `SmartVM needs Node ${wanted} or later; this is ${process.versions.node} (${process.execPath}).\n`,
    );
    process.exit(1);
  }
}
