import { expect, test } from 'vitest';
import { GuestConnection } from '../../../ts/guest/connection.js';
import { agentServer } from '../../support/agent-server.js';
import { cuttingAgent, type Leaving } from '../../support/cutting-agent.js';
import { until } from '../../support/leftovers.js';
import { failOnWarnings } from '../../support/warnings.js';

failOnWarnings();

/** The vsock answer, SSH's version, KEXINIT, ECDH_REPLY, NEWKEYS, SERVICE_ACCEPT, USERAUTH_SUCCESS; others in between are a server's own. */
const LEAST_MESSAGES = 7;

test.each<Leaving>(['ends its half', 'hangs up', 'hangs up in the middle of a message', 'falls silent'])(
  'an agent that %s at any step of the handshake is AGENT_UNREACHABLE',
  async (leaving) => {
    await using server = await agentServer(() => undefined);
    await using agent = await cuttingAgent(server);
    const open = (timeoutMs?: number) =>
      GuestConnection.open({ udsPath: agent.udsPath, keys: server.keys, timeoutMs }).catch((error: unknown) => error);
    const connection = await open();
    expect(connection).toBeInstanceOf(GuestConnection);
    (connection as GuestConnection).close();
    const steps = agent.seen;
    expect(steps).toBeGreaterThanOrEqual(LEAST_MESSAGES);
    agent.leaving = leaving;
    for (agent.messages = 0; agent.messages < steps; agent.messages++) {
      const error = await open(leaving === 'falls silent' ? 100 : undefined);
      expect(error, `after ${agent.messages} messages`).toMatchObject({ code: 'AGENT_UNREACHABLE' });
      // Whoever hangs up is not waited for.
      leaving === 'falls silent' || expect((error as Error).message).not.toMatch(/time/i);
      await until(() => agent.sockets.size === 0 && server.sockets.size === 0, 2_000, 'the end of the connection');
    }
  },
);
