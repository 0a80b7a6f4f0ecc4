import { writeFile } from 'node:fs/promises';
import ssh2 from 'ssh2';
import { expect, test } from 'vitest';
import { generateVmKeys } from '../../../ts/guest/keys.js';
import { run } from '../../../ts/util/run.js';
import { scratchDirectory } from '../../support/scratch.js';

test('every VM has keys and a seed of its own, in the forms that both sides read', async () => {
  const many = await Promise.all(Array.from({ length: 600 }, generateVmKeys));
  const message = Buffer.from('signed');
  for (const { clientKey, clientPublicKey, hostKey, hostPublicKey, seed } of many) {
    for (const [privateKey, publicKey] of [
      [clientKey, clientPublicKey],
      [hostKey, `ssh-ed25519 ${hostPublicKey}`],
    ]) {
      const [secret, open] = [ssh2.utils.parseKey(privateKey ?? ''), ssh2.utils.parseKey(publicKey ?? '')];
      if (secret instanceof Error || open instanceof Error) {
        throw new Error(`a key does not parse: ${secret}, ${open}`);
      }
      expect(secret.type).toBe('ssh-ed25519');
      expect(open.verify(message, secret.sign(message) as Buffer)).toBe(true);
    }
    expect(clientPublicKey).not.toContain('\n');
    expect(Buffer.from(seed, 'base64')).toHaveLength(64);
  }
  const secrets = many.flatMap(({ clientKey, hostKey, seed }) => [clientKey, hostKey, seed]);
  expect(new Set(secrets).size).toBe(secrets.length);
});

test('OpenSSH reads them too', async () => {
  await using scratch = await scratchDirectory();
  const { clientKey, clientPublicKey } = await generateVmKeys();
  await writeFile(scratch.file('key'), clientKey, { mode: 0o600 });
  const publicKey = await run('ssh-keygen', ['-y', '-f', scratch.file('key')]);
  expect(publicKey.toString().trim()).toBe(clientPublicKey);
});
