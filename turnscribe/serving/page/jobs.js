// Transcriptions on the server. Each is a job with an id; its state is asked for until it is done.

import { patiently, rest } from "./patience.js";
import { Refused } from "./server.js";

const PAUSE = [300, 2000]; // milliseconds between two questions about a job: at first, at most

export class Jobs {
  #server;

  constructor(server) {
    this.#server = server;
  }

  /** Sends a recording; resolves to the id of its job. `onProgress(share)`: of the upload. */
  async create(file, parameters, { onProgress, signal }) {
    const form = new FormData();
    for (const [name, value] of parameters) form.append(name, value);
    form.append("file", file, file.name); // last: the server knows the options when the audio arrives
    const { id } = await this.#server.upload("v1/jobs", form, { onProgress, signal });
    return id;
  }

  /** Resolves to the state of the finished job. `onState(state)` at each answer, `onTrouble(sentence)` at none. */
  async whenDone(id, { onState, onTrouble, signal }) {
    for (let [pause, longest] = PAUSE; ; pause = Math.min(pause * 1.3, longest)) {
      const state = await patiently(() => this.#server.json(path(id), { signal }), { onTrouble, signal });
      onState(state);
      if (state.status === "done") return state;
      if (state.status === "failed") throw new Refused(422, state.error?.message ?? "The transcription failed.");
      await rest(pause, signal);
    }
  }

  /** The whole answer. */
  answer(id, { signal }) {
    return this.#server.json(`${path(id)}/result`, { signal });
  }

  /** Stops the job, where it is not done, and makes the server forget it. */
  async remove(id) {
    await this.#server.call(path(id), { method: "DELETE" });
  }
}

function path(id) {
  return `v1/jobs/${encodeURIComponent(id)}`;
}
