// A live session with the server, over one WebSocket or, where one breaks, over further ones: each goes on where the
// one before it was. Audio goes out, the server's events come in.

import { RATE } from "./live-audio.js";
import { rest } from "./patience.js";
import { Refused, Unreachable } from "./server.js";

const PATH = "v1/realtime";
const PAUSES = [1000, 2000, 4000, 8000, 16000]; // milliseconds before each try to go on
const SESSION_OVER = 1000; // the code with which the server closes

const NOT_BEGUN = "The server did not begin a live session: it may have as many as it can. Try again later.";
const FAILED = "The live session ended with an error.";
const LOST = "The connection to the live session broke, and it could not be taken up again.";

export class LiveConnection {
  #server;
  #audio;
  #wishes;
  #events;
  #tries;
  #id;
  #latest = null; // the id of its last event
  #begun; // the server knows what it hears
  #problem = FAILED; // the server's last sentence of what went wrong
  #ending = false;
  #socket = null; // the one that audio can go to

  /**
   * `wishes`: language, speakers; null for what the server shall find out. `session`: the id of one to go on with.
   * `events`: onSession(id), onBegun(), onEvent(event), onTrouble(sentence).
   */
  constructor(server, audio, { wishes = {}, session = null, tries = PAUSES.length, ...events }) {
    this.#server = server;
    this.#audio = audio;
    this.#wishes = wishes;
    this.#id = session;
    this.#begun = session !== null;
    this.#tries = tries;
    this.#events = events;
  }

  /** Until the server has heard all. Resolves to the id of the job that it keeps, null where there was nothing. */
  async run(signal) {
    for (let tried = 0; ; tried++) {
      const { job, code, heard } = await this.#connect(signal);
      if (job !== undefined) return job;
      if (!this.#id) throw new Refused(503, NOT_BEGUN);
      if (code === SESSION_OVER) throw new Refused(500, this.#problem);
      if (heard) tried = 0;
      if (tried >= this.#tries) throw new Unreachable(LOST);
      this.#events.onTrouble(`The connection broke. Nothing is lost: trying again, ${tried + 1} of ${this.#tries}.`);
      await rest(PAUSES[tried], signal);
    }
  }

  /** Sends the audio that there is, if it can be sent now. */
  send() {
    const socket = this.#socket;
    if (!socket) return;
    for (let piece = this.#audio.next(); piece; piece = this.#audio.next()) {
      tell(socket, { type: "input_audio_buffer.append", audio: base64(piece) });
    }
    if (!this.#ending) return;
    tell(socket, { type: "session.close" });
    this.#socket = null;
  }

  /** All audio is there: the server shall hear it to the end. */
  end() {
    this.#ending = true;
    this.send();
  }

  /** One WebSocket, until it is closed. Resolves to {job} at the end of the session, else to {code, heard}. */
  #connect(signal) {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      let heard = false;
      let current = this.#id === null; // what is told is no longer what this page may have missed
      const socket = this.#server.socket(this.#path);
      const leave = () => {
        if (socket.readyState === WebSocket.OPEN) tell(socket, { type: "session.close" });
        socket.close();
        reject(signal.reason);
      };
      signal.addEventListener("abort", leave, { once: true });
      socket.onmessage = ({ data }) => {
        const event = JSON.parse(data);
        heard = true;
        this.#latest = event.event_id;
        if (event.type === "session.closed") {
          resolve({ job: event.turnscribe?.job ?? null });
          socket.close();
        } else if (event.type === "error" && !this.#begun) {
          reject(new Refused(400, event.error.message));
          socket.close();
        } else if (!signal.aborted) {
          current ||= event.type === "session.resumed";
          this.#obey(event, socket, current);
        }
      };
      socket.onclose = ({ code }) => {
        signal.removeEventListener("abort", leave);
        this.#socket = null;
        resolve({ code, heard });
      };
    });
  }

  get #path() {
    if (!this.#id) return `${PATH}?intent=transcription`;
    const after = this.#latest ? { after: this.#latest } : {};
    return `${PATH}?${new URLSearchParams({ session_id: this.#id, ...after })}`;
  }

  #obey(event, socket, current) {
    const { type, session, error } = event;
    if (type === "session.created" && !this.#id) this.#events.onSession((this.#id = session.id));
    if (type === "session.updated") this.#begun = true;
    if (type === "session.resumed") this.#audio.goBackTo(session.turnscribe.received_ms);
    if (type === "error") this.#problem = error.message;
    if (current && /^session\.(created|updated|resumed)$/.test(type)) this.#open(socket);
    this.#events.onEvent(event);
  }

  /** Audio may go there, once the server knows what it hears. */
  #open(socket) {
    if (!this.#begun) return tell(socket, { type: "session.update", session: fields(this.#wishes) });
    this.#socket = socket;
    this.#events.onBegun();
    this.send();
  }
}

function fields({ language = null, speakers = null }) {
  const input = {
    format: { type: "audio/pcm", rate: RATE },
    transcription: { language },
    turn_detection: { type: "server_vad" },
  };
  return { type: "transcription", audio: { input }, turnscribe: { max_speakers: speakers } };
}

function tell(socket, event) {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(event));
}

function base64(samples) {
  return btoa(String.fromCharCode(...new Uint8Array(samples.buffer)));
}
