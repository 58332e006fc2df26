// One way through the page at a time: send a recording and wait for its transcript, listen live, or go on with the job
// in the address; cancel it, remove it, begin anew. What begins stops what was under way.

import { Refused } from "./server.js";

export class Session {
  #views;
  #running = new AbortController();
  #job = null; // the id of the job on the page

  /** `views`: the collaborators frame, notices, jobs, start, options, work, live, panel, result. */
  constructor(views) {
    this.#views = views;
  }

  /** Whether closing the page loses what is not yet anywhere else. */
  get unsaved() {
    return ["work", "live"].includes(this.#views.frame.view) && !this.#job;
  }

  async transcribe(file) {
    const { frame, jobs, notices, options, panel, work } = this.#views;
    const signal = this.#begin();
    panel.clear();
    panel.load(file);
    this.#job = null;
    work.open(file.name);
    const onProgress = (share) => work.show("Uploading", share);
    onProgress(0);
    notices.say("Uploading.");
    await this.#unlessStopped(signal, async () => {
      const id = await jobs.create(file, options.parameters, { onProgress, signal });
      signal.throwIfAborted();
      frame.job = id;
      await this.#follow(id, signal);
    });
  }

  /** Shows the text while somebody speaks, to the microphone or in `file`, and then the transcript of all of it. */
  async listen(file = null) {
    const { frame, live, options, panel, start } = this.#views;
    const signal = this.#begin();
    panel.clear();
    this.#job = null;
    await this.#unlessStopped(signal, async () => {
      const id = await live.run(file, {
        wishes: options.live,
        signal,
        onSession: (session) => (frame.live = session),
        onRecording: (recording) => (start.file = recording),
      });
      signal.throwIfAborted();
      panel.load(start.file);
      await this.#followLive(id, start.file.name, signal);
    });
  }

  /** Goes where the address leads: to a job, whose recording is not here, to a live session, or to the start. */
  async visit() {
    const { frame, panel, start, work } = this.#views;
    if (frame.live) return this.#finishLive(frame.live);
    const id = frame.job;
    if (!id && this.#job) this.startAnew();
    if (!id || id === this.#job) return;
    const signal = this.#begin();
    panel.clear();
    start.file = null;
    work.open("");
    work.show("Asking for the transcript", null);
    await this.#unlessStopped(signal, () => this.#follow(id, signal));
  }

  async cancel() {
    const { jobs, notices, start } = this.#views;
    const id = this.#job;
    this.#begin();
    this.#backToStart();
    notices.say("Cancelled.");
    start.focus();
    if (id) await jobs.remove(id).catch((error) => notices.explain(error));
  }

  /** Makes the server forget the transcript. */
  async remove() {
    const { jobs, notices } = this.#views;
    try {
      await jobs.remove(this.#job);
      this.startAnew();
      notices.say("The server has removed the transcript.");
    } catch (error) {
      notices.explain(error);
    }
  }

  startAnew() {
    this.#begin();
    this.#views.start.file = null;
    this.#backToStart();
    this.#views.start.focus();
  }

  #begin() {
    this.#running.abort();
    this.#running = new AbortController();
    this.#views.notices.error = "";
    return this.#running.signal;
  }

  // The file stays chosen.
  #backToStart() {
    const { frame, panel } = this.#views;
    panel.clear();
    this.#job = null;
    frame.job = null;
    frame.title = "";
    frame.view = "start";
  }

  async #unlessStopped(signal, way) {
    try {
      await way();
    } catch (error) {
      if (signal.aborted) return;
      this.#backToStart();
      this.#views.notices.explain(error);
    }
  }

  /** A live session that a reload of the page left: it ends, and is no different from then on. */
  async #finishLive(session) {
    const { live, panel, start } = this.#views;
    const signal = this.#begin();
    panel.clear();
    this.#job = null;
    start.file = null;
    await this.#unlessStopped(signal, async () => {
      await this.#followLive(await live.finish(session, { signal }), "", signal);
    });
  }

  /** `id`: of the job that the server made of the live session; null where it made none. */
  async #followLive(id, name, signal) {
    const { frame, work } = this.#views;
    if (!id) throw new Refused(422, "Nothing was heard, so there is no transcript.");
    work.open(name);
    frame.job = id;
    await this.#follow(id, signal);
  }

  async #follow(id, signal) {
    const { jobs, notices, result, start, work } = this.#views;
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
    const title = start.file?.name ?? state.filename ?? "Transcript";
    await result.show(id, answer, { title, expiresAt: state.expires_at });
  }
}
