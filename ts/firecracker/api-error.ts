import { SmartVMError, type SmartVMErrorCode, type SmartVMErrorOptions } from '../errors.js';

/** The call that failed, as it went over the socket. */
export interface ApiCall {
  readonly method: string;
  readonly path: string;
  readonly socketPath: string;
}

interface ApiErrorOptions extends SmartVMErrorOptions {
  status?: number | undefined;
  faultMessage?: string | undefined;
}

/** A {@link SmartVMError} of an API call: the call, and where the other side answered, its status and its own words. */
export class ApiError extends SmartVMError {
  readonly method: string;
  readonly path: string;
  readonly socketPath: string;
  /** HTTP status; undefined when there was no answer. */
  readonly status: number | undefined;
  /** The VMM's `fault_message`. */
  readonly faultMessage: string | undefined;

  constructor(code: SmartVMErrorCode, what: string, call: ApiCall, options: ApiErrorOptions = {}) {
    const { status, faultMessage, details, ...rest } = options;
    super(code, `${call.method} ${call.path} on ${call.socketPath}: ${what}`, {
      ...rest,
      details: { ...call, status, faultMessage, ...details },
    });
    this.method = call.method;
    this.path = call.path;
    this.socketPath = call.socketPath;
    this.status = status;
    this.faultMessage = faultMessage;
  }
}

/** The error for an answer with a status of 400 or more. */
export function refusal(call: ApiCall, status: number, body: string): ApiError {
  const faultMessage = readFaultMessage(body);
  const code = status === 503 ? 'API_BUSY' : 'API_REFUSED';
  return new ApiError(code, `status ${status}, ${faultMessage ?? 'without a message'}`, call, { status, faultMessage });
}

/** undici's codes of answers that break HTTP's rules in ways that its parser lets pass. */
const NOT_HTTP = ['UND_ERR_HEADERS_OVERFLOW', 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH'];

/** The error for a call that got no whole answer. */
export function transportError(call: ApiCall, cause: Error): ApiError {
  const { code } = cause as NodeJS.ErrnoException;
  if (cause.name === 'HTTPParserError' || code?.startsWith('HPE_') || NOT_HTTP.includes(code ?? '')) {
    return new ApiError('API_BAD_ANSWER', `the answer is not HTTP (${cause.message})`, call, { cause });
  }
  return new ApiError('API_UNREACHABLE', cause.message, call, { cause });
}

/**
 * Firecracker answers `{"fault_message": …}`, its HTTP library `{ "error": … }` with a raw line break in the string,
 * which is not JSON; anything else is passed on as it is.
 */
function readFaultMessage(body: string): string | undefined {
  const text = body.trim();
  if (text === '') {
    return undefined;
  }
  try {
    const value: unknown = JSON.parse(text.replaceAll('\n', '\\n'));
    if (typeof value === 'object' && value !== null) {
      const fields = value as Record<string, unknown>;
      const message = fields.fault_message ?? fields.error;
      return typeof message === 'string' ? message : text;
    }
  } catch {
    // not JSON: its own words are what there is
  }
  return text;
}
