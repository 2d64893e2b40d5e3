// Immich's queues and workers on the real BullMQ, set up as Immich 3.1.0 does.

import { writeSync, openSync } from "node:fs";

// The concurrency of each queue, in the order in which Immich lists them.
export const CONCURRENCY = {
  thumbnailGeneration: 3,
  metadataExtraction: 5,
  videoConversion: 1,
  faceDetection: 2,
  facialRecognition: 1,
  smartSearch: 2,
  duplicateDetection: 1,
  backgroundTask: 5,
  storageTemplateMigration: 1,
  migration: 5,
  search: 5,
  sidecar: 5,
  library: 5,
  notifications: 5,
  backupDatabase: 1,
  ocr: 1,
  workflow: 5,
  integrityCheck: 1,
  editor: 2,
};
export const NAMES = Object.keys(CONCURRENCY);

const PREFIX = "immich_bull";
const STATES = ["active", "completed", "failed", "delayed", "waiting", "paused"];
// Immich's defaults: one attempt; completed jobs are removed, failed ones kept.
const JOBS = { attempts: 1, removeOnComplete: true, removeOnFail: false };

// A log of events, one JSON object a line. Writes are synchronous, to survive a SIGKILL.
export class Journal {
  constructor(path) {
    this.file = openSync(path, "a");
  }

  write(what, entry) {
    writeSync(this.file, `${JSON.stringify({ at: Date.now() / 1000, what, ...entry })}\n`);
  }
}

export class Queues {
  // bullmq: the module, of either major version. stalledInterval: milliseconds between two checks for
  // stalled jobs, whose lock has expired; a lock lasts 30 seconds, and its worker renews it.
  constructor({ bullmq, connection, journal, stalledInterval }) {
    this.journal = journal;
    this.unfinished = Object.fromEntries(NAMES.map((name) => [name, new Set()]));
    const common = { connection, prefix: PREFIX };
    this.queues = Object.fromEntries(
      NAMES.map((name) => [name, new bullmq.Queue(name, { ...common, defaultJobOptions: JOBS })]),
    );
    this.workers = NAMES.map(
      (name) =>
        new bullmq.Worker(name, (job) => this.work(name, job), {
          ...common,
          autorun: false,
          concurrency: CONCURRENCY[name],
          stalledInterval,
        }),
    );
    // Immich survives a Redis that is down: its clients reconnect, and so do these.
    for (const one of [...this.workers, ...Object.values(this.queues)]) one.on("error", () => {});
  }

  async start() {
    // Immich does this while it imports its map data, so a start always opens this queue.
    await this.queues.metadataExtraction.pause();
    await this.queues.metadataExtraction.resume();
    for (const worker of this.workers) worker.run();
  }

  // Runs one job for its seconds, or until finish() with null; adds its follow-ups before it ends.
  async work(name, job) {
    this.journal.write("started", { queue: name, job: job.name });
    const { seconds, then = [] } = job.data;
    await new Promise((resolve) => {
      if (seconds === null) this.unfinished[name].add(resolve);
      else setTimeout(resolve, seconds * 1000);
    });
    for (const following of then) await this.add(following);
    this.journal.write("finished", { queue: name, job: job.name });
  }

  async add({ queue, job, count = 1, seconds = 0, delay = 0, priority = 0, then = [] }) {
    const options = { delay: delay * 1000, ...(priority ? { priority } : {}) };
    await this.queues[queue].addBulk(
      Array.from({ length: count }, (_, number) => ({
        name: count > 1 ? `${job}-${number}` : job,
        data: { seconds, then },
        opts: options,
      })),
    );
  }

  // Finishes the running jobs with null seconds; returns their number.
  finish(name) {
    const waiting = [...this.unfinished[name]];
    this.unfinished[name].clear();
    for (const resolve of waiting) resolve();
    return waiting.length;
  }

  async counts(name) {
    const found = await this.queues[name].getJobCounts(...STATES);
    // BullMQ 6 has no paused jobs.
    return Object.fromEntries(STATES.map((state) => [state, found[state] ?? 0]));
  }

  isPaused(name) {
    return this.queues[name].isPaused();
  }

  async setPaused(name, isPaused, by) {
    const queue = this.queues[name];
    const wasPaused = await queue.isPaused();
    await (isPaused ? queue.pause() : queue.resume());
    if (wasPaused !== isPaused) {
      const what = isPaused ? "paused" : "resumed";
      this.journal.write(what, { queue: name, by, open: isPaused ? [] : await this.open() });
    }
  }

  // The queues that are open or have active jobs.
  async open() {
    const is = await Promise.all(
      NAMES.map(async (name) => {
        const queue = this.queues[name];
        const [isPaused, active] = await Promise.all([queue.isPaused(), queue.getActiveCount()]);
        return !isPaused || active > 0;
      }),
    );
    return NAMES.filter((_, place) => is[place]);
  }

  async empty(name) {
    await this.queues[name].drain();
  }

  async clearFailed(name) {
    await this.queues[name].clean(0, 1000, "failed");
  }
}
