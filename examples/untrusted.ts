// Runs scripts that nobody has read, each with limits on its time and memory: npx tsx examples/untrusted.ts
import { isSmartVMError, type MicroVM, SmartVM } from 'smartvm';

const scripts = {
  'a failure': 'echo started; ls /no/such/folder',
  'more memory than there is': 'dd if=/dev/zero of=/dev/null bs=1G count=1',
  'an endless loop': 'echo thinking; while :; do :; done',
};

await using smartvm = new SmartVM();
// The VM is the wall around the script, and all the memory that the script can have.
const vm = await smartvm.launch({ image: 'debian', memSizeMib: 192 });

for (const [name, script] of Object.entries(scripts)) {
  console.log(`${name}:`);
  await runScript(vm, script);
}

async function runScript(guest: MicroVM, script: string): Promise<void> {
  try {
    // By standard input, so that the script is no part of any command line.
    const options = { stdin: script, user: 'nobody', cwd: '/tmp', timeoutMs: 5_000 };
    const { exitCode, signal, stdout, stderr } = await guest.exec(['sh', '-e'], options);
    console.log({ exitCode, signal, stdout, stderr });
  } catch (error) {
    if (!isSmartVMError(error, 'EXEC_TIMEOUT')) {
      throw error;
    }
    // Its processes are gone; what it had written by then is in `details`.
    console.log({ timedOut: error.message, stdout: error.details.stdout });
  }
}
