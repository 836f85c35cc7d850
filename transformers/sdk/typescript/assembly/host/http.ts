// Requests to the hosts that the operator lists. Capability `network-client`.
import { Bytes } from "../record";
import { writeArray, writeBytes, writeMap, writeText } from "../msgpack";
import { copied } from "./answers";
import { ask, complete, reader, request } from "./call";

@external("penstock", "http_request")
declare function hostHttpRequest(request: usize, size: usize, out: usize, room: usize): i32;

/** A request. */
export class HttpRequest {
  /** Name and value, in order. */
  headers: string[][] = [];
  body: Bytes | null = null;

  constructor(public method: string, public url: string) {}
}

/** The other side's answer. */
export class HttpResponse {
  status: i32 = 0;
  /** Name and value, in order. */
  headers: string[][] = [];
  body: Bytes = new Bytes(0, 0);
}

/** Sends the request and waits for the answer; `null` when `hostError` says why. */
export function httpRequest(asked: HttpRequest): HttpResponse | null {
  write(asked);
  if (!ask(hostHttpRequest)) return null;
  const response = new HttpResponse();
  for (let left = reader.map(); left && !reader.bad; left--) {
    reader.text();
    const name = reader.string();
    if (name == "status") response.status = <i32>reader.integer();
    else if (name == "headers") readHeaders(response);
    else if (name == "body") {
      reader.bytes();
      if (reader.start) response.body = copied(reader.start, reader.size);
    } else reader.skip();
  }
  return complete() ? response : null;
}

function write(asked: HttpRequest): void {
  writeMap(request, 4);
  writeText(request, "method");
  writeText(request, asked.method);
  writeText(request, "url");
  writeText(request, asked.url);
  writeText(request, "headers");
  writeArray(request, asked.headers.length);
  for (let i = 0; i < asked.headers.length; i++) {
    writeArray(request, 2);
    writeText(request, asked.headers[i][0]);
    writeText(request, asked.headers[i][1]);
  }
  writeText(request, "body");
  const body = asked.body;
  if (body === null) writeBytes(request, 0, 0);
  else writeBytes(request, body.start, body.size);
}

function readHeaders(response: HttpResponse): void {
  for (let left = reader.array(); left && !reader.bad; left--) {
    if (reader.array() != 2) reader.bad = true;
    reader.text();
    const name = reader.string();
    reader.text();
    response.headers.push([name, reader.string()]);
  }
}
