import { type TracingChannel, tracingChannel } from 'node:diagnostics_channel';
import type { TracedMessage } from '../util/traced.js';
import type { ApiCall } from './api-error.js';

/** A call of the API of a VMM or of a keeper. Neither its body nor the answer's is in it. */
export interface ApiCallMessage extends ApiCall, TracedMessage {
  /** HTTP status, once there is an answer. */
  status?: number;
}

export const API_CALL: TracingChannel<unknown, ApiCallMessage> = tracingChannel('smartvm:api:call');
