// Immich's two queue APIs, which respond as recorded from Immich 3.1.0.

import { NAMES } from "./queues.mjs";

const UNPAUSABLE = "backgroundTask";
const COMMANDS = ["start", "pause", "resume", "empty", "clear-failed"];

class ErrorResponse extends Error {
  constructor(status, message, errors) {
    super(message);
    this.status = status;
    this.body = errors ? { message, errors } : { message };
  }
}

export class Immich {
  // keys: names by API key. All keys have all permissions.
  constructor(queues, keys) {
    this.queues = queues;
    this.keys = keys;
  }

  // The name of a request's key, or undefined.
  who(request) {
    return this.keys[request.headers["x-api-key"]];
  }

  async respond(request, text) {
    try {
      return { status: 200, body: await this.carryOut(request, text) };
    } catch (error) {
      if (error instanceof ErrorResponse) return { status: error.status, body: error.body };
      // Redis is down; Immich responds with no more than this.
      return { status: 500, body: { message: "Internal server error" } };
    }
  }

  async carryOut(request, text) {
    const { method, headers } = request;
    let document;
    if (text && (headers["content-type"] ?? "").startsWith("application/json")) {
      try {
        document = JSON.parse(text);
      } catch (error) {
        throw new ErrorResponse(400, error.message);
      }
    }
    const path = request.url.split("?")[0].replace(/\/+$/, "");
    const [, what, name] = path.match(/^\/api\/(queues|jobs)\/([^/]+)$/) ?? [];
    switch (`${method === "HEAD" ? "GET" : method} ${what ? `/api/${what}/NAME` : path}`) {
      case "GET /api/server/ping":
        return { res: "pong" };
      case "GET /api/server/version":
        return { major: 3, minor: 1, patch: 0, prerelease: null };
      case "GET /api/api-keys/me":
        return { id: "1", name: this.admit(request), permissions: ["all"] };
      case "GET /api/queues":
        this.admit(request);
        return Promise.all(NAMES.map((each) => this.queue(each)));
      case "GET /api/queues/NAME":
        this.admit(request);
        return this.queue(known(name));
      case "PUT /api/queues/NAME":
        return this.update(this.admit(request), known(name), document);
      case "GET /api/jobs": {
        this.admit(request);
        const entries = NAMES.map(async (each) => [each, await this.job(each)]);
        return Object.fromEntries(await Promise.all(entries));
      }
      case "PUT /api/jobs/NAME":
        return this.command(this.admit(request), known(name), document);
      default:
        throw new ErrorResponse(404, `Cannot ${method} ${request.url}`);
    }
  }

  admit(request) {
    if (!request.headers["x-api-key"]) throw new ErrorResponse(401, "Authentication required");
    const who = this.who(request);
    if (!who) throw new ErrorResponse(401, "Invalid API key");
    return who;
  }

  async queue(name) {
    const [isPaused, statistics] = await this.state(name);
    return { name, isPaused, statistics };
  }

  async job(name) {
    const [isPaused, jobCounts] = await this.state(name);
    return { queueStatus: { isPaused, isActive: jobCounts.active > 0 }, jobCounts };
  }

  state(name) {
    return Promise.all([this.queues.isPaused(name), this.queues.counts(name)]);
  }

  async update(by, name, document) {
    const { isPaused } = object(document);
    if (isPaused !== undefined && typeof isPaused !== "boolean") {
      throw new ErrorResponse(400, "Validation failed", [wrongType("boolean", isPaused, "isPaused")]);
    }
    if (isPaused && name === UNPAUSABLE) {
      throw new ErrorResponse(400, "The BackgroundTask queue cannot be paused");
    }
    if (isPaused !== undefined) await this.queues.setPaused(name, isPaused, by);
    return this.queue(name);
  }

  async command(by, name, document) {
    const { command } = object(document);
    switch (command) {
      case "pause":
      case "resume":
        await this.queues.setPaused(name, command === "pause", by);
        break;
      case "empty":
        await this.queues.empty(name);
        break;
      case "clear-failed":
        await this.queues.clearFailed(name);
        break;
      case "start":
        if ((await this.queues.counts(name)).active) throw new ErrorResponse(400, "Job is already running");
        await this.queues.add({ queue: name, job: "queue all", seconds: 0.02 });
        break;
      default:
        throw new ErrorResponse(400, "Validation failed", [wrongOption(COMMANDS, "command")]);
    }
    return this.job(name);
  }
}

function known(name) {
  if (!NAMES.includes(name)) throw new ErrorResponse(400, "Validation failed", [wrongOption(NAMES, "name")]);
  return name;
}

function object(document) {
  if (typeof document !== "object" || document === null || Array.isArray(document)) {
    throw new ErrorResponse(400, "Validation failed", [wrongType("object", document)]);
  }
  return document;
}

function wrongType(expected, value, ...path) {
  const received = value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
  const message = `Invalid input: expected ${expected}, received ${received}`;
  return { expected, code: "invalid_type", path, message };
}

function wrongOption(values, ...path) {
  const listed = values.map((value) => `"${value}"`).join("|");
  return { code: "invalid_value", values, path, message: `Invalid option: expected one of ${listed}` };
}
