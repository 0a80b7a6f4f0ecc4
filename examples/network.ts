// Boots a microVM that may speak HTTPS to the internet and nothing else, and shows what becomes of other attempts, as root:
// npx tsx examples/network.ts
import { SmartVM } from 'smartvm';

await using smartvm = new SmartVM();
const vm = await smartvm.launch({
  network: 'default',
  egress: [
    { action: 'allow', to: 'dns' },
    { action: 'allow', protocol: 'tcp', ports: [443] },
  ],
});
console.log(`addresses: ${(await vm.network.addresses()).join(', ')}`);

const { stderr } = await vm.exec(['bash', '-c', 'exec 3<>/dev/tcp/169.254.169.254/80']);
console.log(stderr.trim());

const [{ refused = [] } = {}] = await vm.network.counters();
for (const { to, protocol, port } of refused) {
  console.log(`refused: ${protocol} to port ${port} of ${to}`);
}
