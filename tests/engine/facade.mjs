// An Immich of which only the queues are real: its two APIs in front of a real BullMQ.
//
//   node facade.mjs SETTINGS
//
// SETTINGS is JSON: bullmq (5 or 6), redis and port (both at 127.0.0.1), keys (names by key), journal
// (the file in which all that happens is written down), search (seconds, see queues.mjs).
//
// Besides Immich's paths there is /test/..., without a key, for whoever tries something with it:
//   POST /test/add     jobs, as queues.mjs adds them; a job whose seconds are null runs until finished
//   POST /test/finish  {queue}: its running jobs that wait for this end; answers how many
//   POST /test/kill    {pid, after, delay}: SIGKILL for that process, so many milliseconds after the
//                      so-manieth request from now on that carries the key named "daemon"

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
  search: settings.search * 1000,
});
const immich = new Immich(queues, settings.keys);
let doomed = null;

const controls = {
  "/test/add": (wanted) => queues.add(wanted),
  "/test/finish": ({ queue }) => queues.finish(queue),
  "/test/kill": (wanted) => {
    doomed = { left: wanted.after, ...wanted };
  },
};

function kill({ pid }) {
  try {
    process.kill(pid, "SIGKILL");
    journal.write("killed", {});
  } catch {
    // It has ended by itself.
  }
}

function countDown() {
  if (!doomed || --doomed.left > 0) return;
  const one = doomed;
  doomed = null;
  if (one.delay) setTimeout(() => kill(one), one.delay);
  else kill(one);
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
    journal.write("asked", { method: request.method, path: request.url });
    countDown();
  }
  const { status, body } = await immich.answer(request, text);
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
// Node's own default, which is Immich's too.
server.keepAliveTimeout = 5000;
server.listen(settings.port, "127.0.0.1", () => journal.write("up", {}));
