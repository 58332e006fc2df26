// What a live session hears: the microphone, or a file while it plays. Knows neither the page nor the server.

import { rest } from "./patience.js";
import { microphone, recordingOf, Unheard, whyNot } from "./recorder.js";

const WORKLET = new URL("live-worklet.js", import.meta.url);
const LAST_BLOCK = 500; // milliseconds in which it comes, or never

/** Why nothing can be heard here, as a sentence; null where it can. */
export function whyNotLive() {
  if (!window.isSecureContext) return "Live text needs an address with https.";
  return whyNot() || !window.AudioWorkletNode ? "This browser cannot listen live." : null;
}

/** Throws `Unheard` where the microphone is denied. */
export async function fromMicrophone() {
  const stream = await microphone();
  let recording;
  const record = () => (recording ??= recordingOf(stream));
  return Source.of((context) => context.createMediaStreamSource(stream), {
    name: "Microphone",
    begin: () => record().ended,
    finish: () => record().stop(),
  });
}

/** Throws `Unheard` where the browser cannot play it. */
export async function fromFile(file) {
  const audio = new Audio();
  const url = URL.createObjectURL(file);
  const broken = new Promise((resolve) => audio.addEventListener("error", resolve));
  const ready = new Promise((resolve) => audio.addEventListener("canplay", () => resolve(true)));
  audio.src = url;
  if ((await Promise.race([ready, broken])) !== true) {
    URL.revokeObjectURL(url);
    throw new Unheard("This browser cannot play that file. Transcribe it instead.");
  }
  const ended = new Promise((resolve) => audio.addEventListener("ended", resolve));
  const input = (context) => {
    const node = context.createMediaElementSource(audio);
    node.connect(context.destination); // the person hears it too
    return node;
  };
  return Source.of(input, {
    name: file.name,
    begin: () => Promise.race([audio.play().then(() => ended), broken]),
    finish() {
      audio.pause();
      URL.revokeObjectURL(url);
      return file;
    },
  });
}

export class Source {
  #context;
  #input;
  #node;
  #begin;
  #finish;
  #onLast = () => {};
  #stopped = null;

  /** `input(context)`: the node that is heard. `begin()` resolves when it is over, `finish()` to the file of it. */
  static async of(input, options) {
    const context = new AudioContext();
    try {
      await context.audioWorklet.addModule(WORKLET);
      return new Source(context, input(context), options);
    } catch (error) {
      await context.close();
      await options.finish();
      throw error;
    }
  }

  constructor(context, input, { name, begin, finish }) {
    this.name = name;
    this.#context = context;
    this.#input = input;
    this.#begin = begin;
    this.#finish = finish;
    this.#node = new AudioWorkletNode(context, "listener", { channelCount: 1, channelCountMode: "explicit" });
    this.#node.connect(context.destination); // silence: what leads nowhere need not be run
  }

  /** Hertz. */
  get rate() {
    return this.#context.sampleRate;
  }

  /** `take(samples)` from now on. Resolves when there is no more, if ever. */
  async start(take) {
    this.#node.port.onmessage = ({ data }) => (data ? take(data) : this.#onLast());
    this.#input.connect(this.#node);
    this.#context.resume();
    await this.#begin();
  }

  /** Resolves to the file of what was heard, once all of it was taken. */
  stop() {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop() {
    const last = new Promise((resolve) => (this.#onLast = resolve));
    this.#node.port.postMessage("end");
    await Promise.race([last, rest(LAST_BLOCK)]);
    this.#input.disconnect();
    await this.#context.close();
    return this.#finish();
  }
}
