import { SmartVMError } from '../errors.js';

/** @throws SmartVMError AGENT_MISSING for a VM that has none of our agents, which it says how to get */
export function refuseWithoutAgent(id: string): never {
  throw new SmartVMError(
    'AGENT_MISSING',
    `VM ${id} was started without SmartVM's agent, by which its guest is reached; those of launch() and 'smartvm run' have it`,
    { details: { id } },
  );
}
