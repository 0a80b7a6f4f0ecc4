// Prints how many milliseconds a launch takes up to the result of its first exec, in a program that did nothing before.
import { SmartVM } from 'smartvm';

const smartvm = new SmartVM({ vmm: 'qemu' });
const started = performance.now();
const vm = await smartvm.launch({ image: 'debian' });
const { stdout } = await vm.exec(['uname', '-s']);
const duration = performance.now() - started;
await smartvm.cleanup();
if (stdout !== 'Linux\n') {
  throw new Error(`the guest said: ${stdout}`);
}
console.log(duration);
