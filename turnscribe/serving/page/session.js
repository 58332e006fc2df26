// One way through the page at a time: send a recording and wait for its transcript, listen live, or go on with the job
// in the address; cancel it, remove it, begin anew. What begins stops what was under way; a job that was waited for
// goes on in the background.

import { Refused } from "./server.js";

export class Session {
  #views;
  #running = new AbortController();
  #job = null; // the id of the job on the page
  #order = null; // of the queue, while its transcript is waited for

  /** `views`: the collaborators frame, notices, jobs, start, options, work, live, panel, desk, shelf, queue. */
  constructor(views) {
    this.#views = views;
  }

  /** Whether closing the page loses what is not yet anywhere else. */
  get unsaved() {
    return ["work", "live"].includes(this.#views.frame.view) && !this.#job;
  }

  async transcribe(file) {
    const { frame, jobs, notices, options, panel, queue, work } = this.#views;
    const signal = this.#begin();
    panel.load(file);
    work.open(file.name);
    const onProgress = (share) => work.show("Uploading", share);
    onProgress(0);
    notices.say("Uploading.");
    await this.#unlessStopped(signal, async () => {
      const { parameters } = options;
      const order = await queue.begin(file, parameters);
      signal.addEventListener("abort", () => order.job || queue.drop(order));
      signal.throwIfAborted();
      this.#order = order;
      const id = await jobs.create(file, parameters, { onProgress, signal });
      await queue.told(order, id);
      signal.throwIfAborted();
      frame.job = id;
      await this.#follow(id, order, signal);
    });
  }

  /** Several files: they are transcribed in the background. */
  async transcribeAll(files) {
    const { notices, options, queue, start } = this.#views;
    start.files = [];
    notices.error = "";
    notices.say(`${files.length} files are being transcribed.`);
    await queue.add(files, options.parameters);
  }

  /** Shows the text while somebody speaks, to the microphone or in `file`, and then the transcript of all of it. */
  async listen(file = null) {
    const { frame, live, options, panel, start } = this.#views;
    const signal = this.#begin();
    await this.#unlessStopped(signal, async () => {
      const id = await live.run(file, {
        wishes: options.live,
        signal,
        onSession: (session) => (frame.live = session),
        onRecording: (recording) => (start.files = [recording]),
      });
      signal.throwIfAborted();
      panel.load(start.file);
      await this.#followLive(id, start.file, signal);
    });
  }

  /** Goes where the address leads: to a kept transcript, to a job, to a live session, or to the start. */
  async visit() {
    const { frame, jobs, panel, queue, shelf, start, work } = this.#views;
    if (frame.live) return this.#finishLive(frame.live);
    const id = frame.job;
    if (!id && this.#job) this.startAnew();
    if (!id || id === this.#job) return;
    const signal = this.#begin();
    this.#job = id;
    start.files = [];
    await this.#unlessStopped(signal, async () => {
      const kept = await shelf.open(id).catch(() => null);
      signal.throwIfAborted();
      if (kept) return this.#open(kept, signal);
      work.open("");
      work.show("Asking for the transcript", null);
      const order = (await queue.orderOf(id)) ?? { job: id, key: null, name: "", created: Date.now() };
      this.#order = order.key && order;
      const recording = await shelf.recordings.get(order.key).catch(() => null);
      signal.throwIfAborted();
      if (recording) panel.load(recording);
      await this.#follow(id, order, signal);
    });
  }

  async cancel() {
    const { jobs, notices, queue, start } = this.#views;
    const [id, order] = [this.#job, this.#order];
    this.#order = null;
    this.#begin();
    this.#backToStart();
    notices.say("Cancelled.");
    start.focus();
    if (order) await queue.drop(order);
    if (id) await jobs.remove(id).catch((error) => notices.explain(error));
  }

  /** Makes the server forget the transcript; what this browser keeps stays. */
  async remove() {
    const { jobs, notices } = this.#views;
    try {
      await jobs.remove(this.#job);
      this.startAnew();
      notices.say("The server has removed the transcript; this browser keeps it.");
    } catch (error) {
      notices.explain(error);
    }
  }

  startAnew() {
    this.#begin();
    this.#views.start.files = [];
    this.#backToStart();
    this.#views.start.focus();
  }

  #begin() {
    const { desk, notices, panel, queue } = this.#views;
    this.#running.abort();
    this.#running = new AbortController();
    if (this.#order?.job) queue.leave(this.#order);
    this.#order = null;
    this.#job = null;
    notices.error = "";
    desk.close();
    panel.clear();
    return this.#running.signal;
  }

  // The file stays chosen.
  #backToStart() {
    const { frame, panel } = this.#views;
    panel.clear();
    this.#job = this.#order = null;
    frame.job = null;
    frame.title = "";
    frame.view = "start";
  }

  async #unlessStopped(signal, way) {
    try {
      await way();
    } catch (error) {
      if (signal.aborted) return;
      if (this.#order) await this.#views.queue.drop(this.#order);
      this.#backToStart();
      this.#views.notices.explain(error);
    }
  }

  /** A live session that a reload of the page left: it ends, and is no different from then on. */
  async #finishLive(session) {
    const { live, start } = this.#views;
    const signal = this.#begin();
    start.files = [];
    await this.#unlessStopped(signal, async () => {
      await this.#followLive(await live.finish(session, { signal }), null, signal);
    });
  }

  /** `id`: of the job that the server made of the live session; null where it made none. */
  async #followLive(id, recording, signal) {
    const { frame, queue, work } = this.#views;
    if (!id) throw new Refused(422, "Nothing was heard, so there is no transcript.");
    work.open(recording?.name ?? "");
    frame.job = id;
    const order = recording
      ? await queue.begin(recording, [], { job: id })
      : { job: id, key: null, name: "", created: Date.now() };
    this.#order = order.key && order;
    await this.#follow(id, order, signal);
  }

  async #follow(id, order, signal) {
    const { jobs, notices, queue, work } = this.#views;
    let trouble = null; // our own sentence goes away again, another's stays
    this.#job = id;
    const state = await jobs.whenDone(id, {
      signal,
      onTrouble: (sentence) => (notices.error = trouble = sentence),
      onState: (state) => {
        if (notices.error === trouble) notices.error = "";
        work.showState(state);
      },
    });
    const answer = state.result ?? (await jobs.answer(id, { signal }));
    const kept = await queue.settle(order, state, answer);
    this.#order = null;
    signal.throwIfAborted();
    await this.#open(kept, signal);
  }

  async #open({ entry, doc }, signal) {
    const { desk, panel, shelf } = this.#views;
    if (!panel.present) {
      const recording = await shelf.recordings.get(entry.audio).catch(() => null);
      signal.throwIfAborted();
      if (recording) panel.load(recording);
    }
    await desk.open(entry, doc);
  }
}
