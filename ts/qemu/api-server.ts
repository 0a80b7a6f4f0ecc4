import { JsonText } from './api/actions.js';
import type { ParsedRequest } from './api/parsed-request.js';
import { type Method, parseRequest } from './api/routes.js';
import type { Vmm } from './controller/vmm.js';
import { Fault } from './fault.js';
import type { HttpRequest } from './http/request-parser.js';
import { type HttpResponse, HttpServer } from './http/server.js';
import { API_SOURCE } from './telemetry/logger.js';
import { countFailure, countRequest } from './telemetry/request-counters.js';

const REASONS: Readonly<Record<number, string>> = { 400: 'Bad Request', 413: 'Payload too large' };

/** Serves the API of a VM. @throws BindError */
export async function serveApi(vmm: Vmm, path: string, maxPayloadBytes: number): Promise<void> {
  const server = new HttpServer(
    maxPayloadBytes,
    (request) => respond(vmm, request),
    () => vmm.onAnswered(),
  );
  await server.listen(path);
}

async function respond(vmm: Vmm, { method, path, body }: HttpRequest): Promise<HttpResponse> {
  const { logger } = vmm;
  const start = performance.now();
  logger.write('INFO', API_SOURCE, `The API server received a ${describe(method, path, body)}.`);
  let deprecated = false;
  try {
    const parsed = parse(vmm, method, path, body);
    deprecated = parsed.deprecated;
    const answer = await vmm.handle(parsed.action);
    measure(vmm, parsed, start);
    const outcome = answer ? '200 OK' : '204 No Content';
    logger.write('INFO', API_SOURCE, `The request was executed successfully. Status code: ${outcome}.`);
    const text = answer instanceof JsonText ? answer.text : answer && JSON.stringify(answer);
    return { status: text === undefined ? 204 : 200, body: text, deprecated };
  } catch (error) {
    const { status, message } = error instanceof Fault ? error : { status: 400 as const, message: internal(error) };
    const reason = REASONS[status];
    logger.write('ERROR', API_SOURCE, `Received Error. Status code: ${status} ${reason}. Message: ${message}`);
    return { status, body: JSON.stringify({ fault_message: message }), deprecated };
  }
}

function parse({ metrics }: Vmm, method: Method, path: string, body: Buffer | undefined): ParsedRequest {
  countRequest(metrics, method, path);
  try {
    const parsed = parseRequest(method, path, body);
    if (parsed.deprecated) {
      metrics.count('deprecated_api', 'deprecated_http_api_calls');
    }
    return parsed;
  } catch (error) {
    countFailure(metrics, method, path);
    throw error;
  }
}

/** The times of the requests that Firecracker measures, from end to end. */
function measure({ metrics }: Vmm, { action }: ParsedRequest, startMs: number): void {
  if (action.name === 'Pause') {
    metrics.took('pause_vm', startMs);
  } else if (action.name === 'Resume') {
    metrics.took('resume_vm', startMs);
  } else if (action.name === 'LoadSnapshot') {
    metrics.took('load_snapshot', startMs);
  } else if (action.name === 'CreateSnapshot') {
    const isFull = action.parameters.snapshot_type === 'Full';
    metrics.took(isFull ? 'full_create_snapshot' : 'diff_create_snapshot', startMs);
  }
}

/** What the MMDS holds may be secret, and a CPU template is long: neither is logged. */
function describe(method: Method, path: string, body: Buffer | undefined): string {
  const name = method.charAt(0) + method.slice(1).toLowerCase();
  const request = `${name} request on ${JSON.stringify(path)}`;
  const hidden = body === undefined || path === '/mmds' || path === '/cpu-config';
  return hidden ? request : `${request} with body ${JSON.stringify(body.toString())}`;
}

/** Not foreseen: the client hears of it, and so does the log. */
function internal(error: unknown): string {
  process.stderr.write(`${(error as Error).stack}\n`);
  return `Internal VMM error: ${(error as Error).message}`;
}
