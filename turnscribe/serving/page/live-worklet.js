// In the thread of the audio: hands its samples over, a block at a time. Any message asks for the last, unfinished one.

const BLOCK = 1024; // samples: 21 ms at 48 kHz

class Listener extends AudioWorkletProcessor {
  #block = new Float32Array(BLOCK);
  #filled = 0;
  #over = false;

  constructor() {
    super();
    this.port.onmessage = () => this.#end();
  }

  /** `channel`: of the one input; there is none while nothing plays. */
  process([[channel]]) {
    for (const sample of this.#over ? [] : (channel ?? [])) {
      this.#block[this.#filled] = sample;
      this.#filled += 1;
      if (this.#filled === BLOCK) this.#handOver();
    }
    return !this.#over;
  }

  #handOver() {
    const block = this.#block.slice(0, this.#filled);
    this.#filled = 0;
    this.port.postMessage(block, [block.buffer]);
  }

  #end() {
    this.#over = true;
    this.#handOver();
    this.port.postMessage(null);
  }
}

registerProcessor("listener", Listener);
