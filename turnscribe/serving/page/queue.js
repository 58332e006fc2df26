// The transcriptions under way: each an order, kept in this browser until its transcript is, so that it goes on after a
// reload. One file is uploaded at a time; the server's jobs are asked after until they are done.
//
// An order: {key, name, size, created, parameters, job}, where `job` is null until the upload is over. Its recording is
// kept under `key`. What is not kept of it: {state, phase, share, error}; `state` is waiting, uploading, running, failed.
// Each order belongs to one tab, and to another where that is closed.

import { fromAnswer } from "./mended/answers.js";
import { patiently } from "./patience.js";
import { described } from "./stages.js";

export class Queue {
  #database;
  #shelf;
  #jobs;
  #onChange = () => {};
  #orders = new Map(); // key -> what is known of it
  #files = new Map(); // key -> the file, in the tab that it was chosen in
  #stops = new Map(); // key -> its AbortController, while this tab is at it
  #owned = new Map(); // key -> what gives it up again
  #uploading = false;

  constructor({ database, shelf, jobs }) {
    this.#database = database;
    this.#shelf = shelf;
    this.#jobs = jobs;
  }

  set onChange(listener) {
    this.#onChange = listener;
  }

  /** All that are not on the page as the one that is waited for. */
  get orders() {
    return [...this.#orders.values()].filter((order) => !order.watched);
  }

  /** An order whose progress somebody else watches, until it is settled, dropped or left. */
  async begin(file, parameters, { job = null } = {}) {
    const { name, size } = file;
    const order = { key: newKey(), name, size, created: Date.now(), parameters, job, watched: true };
    this.#orders.set(order.key, order);
    this.#own(order.key);
    this.#files.set(order.key, file);
    await this.#keep(order);
    this.#shelf.keepRecording(order.key, file);
    return order;
  }

  /** Its upload is over. */
  async told(order, job) {
    order.job = job;
    await this.#keep(order);
  }

  /** Its transcript is here: keeps that in its place. Resolves to the {entry, doc} of the shelf. */
  async settle(order, state, answer) {
    const known = await this.#shelf.open(order.job).catch(() => null); // another tab may have mended it meanwhile
    if (known) {
      await this.#forget(order);
      return known;
    }
    const doc = fromAnswer(answer);
    const entry = {
      id: order.job,
      title: order.name || state.filename || "Transcript",
      created: order.created,
      expiresAt: state.expires_at ?? null,
      duration: doc.duration,
      warnings: answer.warnings ?? [],
      took: answer.timings?.total ?? null,
      audio: order.key,
    };
    await this.#shelf.put(entry, doc).catch(() => {}); // it is on the page all the same
    await this.#forget(order);
    return { entry, doc };
  }

  /** Nobody watches it any more: it goes on in the background. */
  leave(order) {
    if (!this.#orders.has(order.key)) return;
    order.watched = false;
    this.#go(order);
  }

  /** Forgets it with its recording; a job is the caller's to end. */
  async drop(order) {
    await this.#forget(order);
    await this.#shelf.recordings.remove(order.key).catch(() => {});
  }

  /** Several at once, all in the background. */
  async add(files, parameters) {
    for (const file of files) this.leave(await this.begin(file, parameters));
  }

  async cancel(order) {
    this.#stops.get(order.key)?.abort();
    await this.drop(order);
    if (order.job) await this.#jobs.remove(order.job).catch(() => {});
  }

  /** Takes up what was under way before a reload, or in a tab that is closed. */
  async resume() {
    for (const { key } of await this.#database.all("orders").catch(() => [])) {
      this.#own(key).then(async () => {
        const order = await this.#database.get("orders", key);
        if (!order || this.#orders.has(key)) return;
        this.#orders.set(key, order);
        this.#go(order);
      });
    }
  }

  /** The order of a job; null where this browser knows none. */
  async orderOf(job) {
    const all = [...this.#orders.values(), ...(await this.#database.all("orders").catch(() => []))];
    const found = all.find((order) => order.job === job);
    const order = found && (this.#orders.get(found.key) ?? found);
    if (!order) return null;
    this.#stops.get(order.key)?.abort();
    order.watched = true;
    this.#orders.set(order.key, order);
    this.#onChange();
    return order;
  }

  #go(order) {
    if (this.#stops.has(order.key) && !this.#stops.get(order.key).signal.aborted) return;
    if (order.job) this.#follow(order);
    else {
      this.#show(order, { state: "waiting", phase: "Waiting", share: null });
      this.#upload();
    }
  }

  async #upload() {
    if (this.#uploading) return;
    this.#uploading = true;
    try {
      let next;
      while ((next = this.orders.find((order) => !order.job && order.state === "waiting"))) await this.#send(next);
    } finally {
      this.#uploading = false;
    }
  }

  #send(order) {
    return this.#attempt(order, async (signal) => {
      const file = this.#files.get(order.key) ?? (await this.#shelf.recordings.get(order.key));
      if (!file) throw new Error("Its file is not in this browser any more: choose it again.");
      const onProgress = (share) => this.#show(order, { state: "uploading", phase: "Uploading", share });
      const onTrouble = (phase) => this.#show(order, { phase, share: null });
      onProgress(0);
      const upload = () => this.#jobs.create(file, order.parameters, { onProgress, signal });
      await this.told(order, await patiently(upload, { onTrouble, signal }));
      this.#files.delete(order.key);
      this.#follow(order);
    });
  }

  #follow(order) {
    return this.#attempt(order, async (signal) => {
      this.#show(order, { state: "running", phase: "Asking for the transcript", share: null });
      const state = await this.#jobs.whenDone(order.job, {
        signal,
        onTrouble: (sentence) => this.#show(order, { phase: sentence, share: null }),
        onState: (told) => this.#show(order, { state: told.status, ...described(told) }),
      });
      await this.settle(order, state, state.result ?? (await this.#jobs.answer(order.job, { signal })));
    });
  }

  async #attempt(order, way) {
    const stop = new AbortController();
    this.#stops.set(order.key, stop);
    try {
      await way(stop.signal);
    } catch (error) {
      if (!stop.signal.aborted) this.#show(order, { state: "failed", phase: "", share: null, error: error.message });
    }
  }

  #show(order, what) {
    Object.assign(order, what);
    this.#onChange();
  }

  /** Resolves when the order is this tab's. */
  #own(key) {
    return new Promise((resolve) => {
      const held = () => new Promise((release) => resolve(this.#owned.set(key, release)));
      if (navigator.locks) navigator.locks.request(`turnscribe.${key}`, held);
      else held();
    });
  }

  async #keep({ key, name, size, created, parameters, job }) {
    await this.#database.put("orders", { key, name, size, created, parameters, job }).catch(() => {});
  }

  async #forget(order) {
    this.#owned.get(order.key)?.();
    this.#orders.delete(order.key);
    this.#files.delete(order.key);
    await this.#database.remove("orders", order.key).catch(() => {});
    this.#onChange();
  }
}

function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
