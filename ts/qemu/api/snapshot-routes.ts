import { Fault } from '../fault.js';
import { json, jsonFault, type ParsedRequest, request } from './parsed-request.js';
import { normalizedLoad, snapshotCreate, snapshotLoad } from './snapshot-bodies.js';

export function putSnapshot([operation]: readonly string[], body: Buffer): ParsedRequest {
  if (operation === 'create') {
    return request('CreateSnapshot', json(snapshotCreate, body));
  }
  if (operation === 'load') {
    return loadRequest(body);
  }
  throw new Fault(
    operation === undefined
      ? 'Missing snapshot operation type.'
      : `Invalid request method and/or path: PUT /snapshot/${operation}.`,
  );
}

function loadRequest(body: Buffer): ParsedRequest {
  const config = json(snapshotLoad, body);
  const load = normalizedLoad(config);
  if (!load) {
    throw jsonFault(
      config.mem_backend === null
        ? 'missing field: either `mem_backend` or `mem_file_path` is required'
        : 'too many fields: either `mem_backend` or `mem_file_path` exclusively is required',
    );
  }
  return request('LoadSnapshot', load, config.mem_file_path !== null || config.enable_diff_snapshots);
}
