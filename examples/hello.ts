// Boots a Debian microVM, runs a command in it and prints what it printed: npx tsx examples/hello.ts
import { SmartVM } from 'smartvm';

await using smartvm = new SmartVM(); // every VM that it made ends with it
const vm = await smartvm.launch({ image: 'debian', vcpuCount: 1, memSizeMib: 256 });

const { stdout, exitCode } = await vm.exec(['uname', '-a']);
console.log(stdout.trim());
console.log(`exit code ${exitCode}`);
