import { describe, expect, test } from 'vitest';
import { agentServer, connect, finish } from '../../support/agent-server.js';
import { failOnWarnings } from '../../support/warnings.js';

failOnWarnings();

describe('spawnDetached()', () => {
  test('resolves when the agent says that the process runs, and closes the session when it is let go of', async () => {
    const commands: string[] = [];
    let closed!: () => void;
    const closing = new Promise<void>((resolve) => {
      closed = resolve;
    });
    await using server = await agentServer(({ command, channel }) => {
      commands.push(command);
      channel.on('close', closed).resume();
      channel.write('started\n');
    });
    const guest = await connect(server);
    const letGo = await guest.spawnDetached(['job', 'a b'], { console: true, endsVm: true, user: 'u' });
    const request = { argv: ['job', 'a b'], user: 'u', detached: { console: true, endsVm: true } };
    expect(commands).toEqual([`smartvm-exec ${JSON.stringify(request)}`]);
    const isOpen = () => new Promise((resolve) => setTimeout(resolve, 30, 'open'));
    expect(await Promise.race([closing, isOpen()])).toBe('open');
    letGo();
    await closing;
    guest.close();
  });

  test.each([
    [127, 'smartvm-agent: nosuch: not found\n', 'nosuch: not found'],
    [126, '', 'job: it could not be executed'],
  ])('rejects when the session ends with %i instead', async (exitCode, words, message) => {
    await using server = await agentServer((request) => finish(request, exitCode, '', words));
    const guest = await connect(server);
    const started = guest.spawnDetached(['job']);
    await expect(started).rejects.toMatchObject({ code: 'EXEC_FAILED', message, details: { exitCode } });
    guest.close();
  });

  test('rejects when the connection is lost before the agent has said a word', async () => {
    await using server = await agentServer(({ socket }) => socket.destroy());
    const guest = await connect(server);
    await expect(guest.spawnDetached(['job'])).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE' });
  });
});
