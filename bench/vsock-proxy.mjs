// ProxyCommand of ssh for bench/guest.ts: its standard input and output, joined to a port behind Firecracker's vsock socket.
import { connect } from 'node:net';

const [path, port] = process.argv.slice(2);
const socket = connect(path);
socket.write(`CONNECT ${port}\n`);
let answer = '';
socket.on('data', function handshake(chunk) {
  answer += chunk.toString('latin1');
  const end = answer.indexOf('\n') + 1;
  if (end > 0) {
    socket.off('data', handshake).pause();
    process.stdout.write(Buffer.from(answer.slice(end), 'latin1'));
    process.stdin.pipe(socket).pipe(process.stdout);
  }
});
socket.on('close', () => process.exit());
