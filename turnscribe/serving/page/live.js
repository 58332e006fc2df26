// A live session from its first sound to the job that the server makes of it.

import { LiveAudio, RATE } from "./live-audio.js";
import { LiveConnection } from "./live-connection.js";
import { fromFile, fromMicrophone } from "./live-source.js";
import { Refused, Unreachable } from "./server.js";

const CAUGHT_UP = 3; // seconds: text that comes sooner is not late any more
const OVER = "The live session of this address is over, or cannot be reached.";

export class Live {
  #server;
  #notices;
  #view;
  #text;

  constructor(server, { notices, view, text }) {
    this.#server = server;
    this.#notices = notices;
    this.#view = view;
    this.#text = text;
  }

  /**
   * Hears the microphone, or `file` while it plays, until it is stopped or over. Resolves to the id of the job, null
   * where there is none. `wishes`: language, speakers. `events`: onSession(id), onRecording(file) of what was heard.
   */
  async run(file, { wishes, signal, onSession, onRecording }) {
    await this.#server.json("v1/models", { signal }); // asks for a key, where one is needed
    const source = await (file ? fromFile(file) : fromMicrophone());
    let begun = false;
    try {
      signal.throwIfAborted();
      const audio = new LiveAudio(source.rate);
      const connection = this.#connection(audio, {
        wishes,
        onSession,
        onBegun: () => (begun ||= this.#begin()),
        onProblem: () => end(),
      });
      let ending = false;
      const end = async () => {
        if (ending) return;
        ending = true;
        this.#view.finish();
        await source.stop();
        audio.end();
        connection.end();
      };
      this.#open(source.name, end);
      const listening = source.start((samples) => {
        audio.take(samples);
        connection.send();
        if (begun && !ending) this.#view.showTime(audio.seconds);
      });
      listening.then(end, end);
      return await connection.run(signal);
    } finally {
      const recording = await source.stop();
      if (begun && !signal.aborted) onRecording(recording);
      this.#text.clear();
    }
  }

  /** Ends a session that this page left a moment ago. Resolves to the id of its job. */
  async finish(session, { signal }) {
    const connection = this.#connection(new LiveAudio(RATE), { session, tries: 0 });
    this.#open("", () => {});
    this.#view.finish();
    connection.end();
    try {
      await this.#server.json("v1/models", { signal });
      return await connection.run(signal);
    } catch (error) {
      throw error instanceof Unreachable ? new Refused(404, OVER) : error;
    } finally {
      this.#text.clear();
    }
  }

  #connection(audio, { onBegun = () => {}, onProblem = () => {}, ...options }) {
    return new LiveConnection(this.#server, audio, {
      ...options,
      onTrouble: (sentence) => (this.#view.note = sentence),
      onBegun: () => {
        this.#view.note = "";
        onBegun();
      },
      onEvent: (event) => {
        this.#show(event, audio.sentSeconds);
        if (event.type === "error") onProblem();
      },
    });
  }

  #open(name, onStop) {
    this.#text.clear();
    this.#view.open(name, onStop);
  }

  #begin() {
    this.#notices.say("Listening.");
    return true;
  }

  #show(event, sent) {
    const end = this.#text.hear(event);
    if (event.type === "turnscribe.behind") {
      this.#view.note = `The server is ${Math.round(event.seconds)} seconds behind: text comes later.`;
    } else if (event.type === "error") {
      this.#notices.error = event.error.message;
    } else if (event.type.endsWith(".failed")) {
      this.#view.note = `A part has no text: ${event.error.message}`;
    } else if (end !== null) {
      this.#view.showDelay(sent - end);
      if (sent - end < CAUGHT_UP) this.#view.note = "";
    }
  }
}
