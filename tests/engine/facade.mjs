// An Immich of which only the queues are real: its two APIs in front of a real BullMQ.
//
//   node facade.mjs SETTINGS
//
// SETTINGS is JSON: bullmq (5 or 6), redis and port (both on 127.0.0.1), keys (names by key), journal
// (the file for the log of events), stalledInterval (in seconds, see queues.mjs).
//
// Besides Immich's paths there are paths for tests, which need no key:
//   POST /test/add     adds jobs, see queues.mjs; a job with null seconds runs until it is finished
//   POST /test/finish  {queue}: finishes its running jobs with null seconds; responds with their number
//   POST /test/kill    {pid, after, delay}: sends SIGKILL to the process, delay milliseconds after the
//                      after-th request from now on with the key named "daemon"

import { createServer } from "node:http";

import { Immich } from "./immich.mjs";
import { Journal, Queues } from "./queues.mjs";

const settings = JSON.parse(process.argv[2]);
const bullmq = await import(settings.bullmq === 5 ? "bullmq5" : "bullmq6");
const journal = new Journal(settings.journal);
const queues = new Queues({
  bullmq,
  journal,
  connection: { host: "127.0.0.1", port: settings.redis },
  stalledInterval: settings.stalledInterval * 1000,
});
const immich = new Immich(queues, settings.keys);
let pendingKill = null;

const controls = {
  "/test/add": (jobs) => queues.add(jobs),
  "/test/finish": ({ queue }) => queues.finish(queue),
  "/test/kill": (target) => {
    pendingKill = { left: target.after, ...target };
  },
};

function kill({ pid }) {
  try {
    process.kill(pid, "SIGKILL");
    journal.write("killed", {});
  } catch {
    // The process has ended already.
  }
}

function countDown() {
  if (!pendingKill || --pendingKill.left > 0) return;
  const due = pendingKill;
  pendingKill = null;
  if (due.delay) setTimeout(() => kill(due), due.delay);
  else kill(due);
}

async function respond(request, response) {
  const parts = [];
  for await (const part of request) parts.push(part);
  const text = Buffer.concat(parts).toString();
  const control = controls[request.url];
  if (control) {
    const result = await control(JSON.parse(text));
    return write(response, 200, result ?? null);
  }
  if (immich.who(request) === "daemon") {
    journal.write("requested", { method: request.method, path: request.url });
    countDown();
  }
  const { status, body } = await immich.respond(request, text);
  write(response, status, body);
}

function write(response, status, body) {
  const bytes = Buffer.from(JSON.stringify(body));
  const headers = { "content-type": "application/json; charset=utf-8", "content-length": bytes.length };
  response.writeHead(status, headers).end(bytes);
}

await queues.start();
const server = createServer((request, response) => {
  respond(request, response).catch(() => response.destroy());
});
// Node's default, which Immich uses too.
server.keepAliveTimeout = 5000;
server.listen(settings.port, "127.0.0.1", () => journal.write("up", {}));
