// Samples at one rate as samples at another. What the lower rate cannot carry is left out, by a windowed sinc; blocks
// come out as one long block would. Touches no element.

const CROSSINGS = 24; // of the sinc with zero, on each side
const HIGHEST = 0.92; // of what the lower rate can carry

export class Resampler {
  #step; // from one sample to the next one made, in shares of a sample that came
  #shares; // of a sample that came: the places a made one can have
  #cutOff; // of half the rate that comes
  #reach; // samples on each side that a made one hears
  #filters = new Map(); // by the place between two samples that came
  #held; // samples that came and are still needed
  #place; // of the next one made, in shares, from the first one held

  /** Rates in whole hertz. */
  constructor(from, to) {
    const common = greatestDivisor(from, to);
    this.#step = from / common;
    this.#shares = to / common;
    this.#cutOff = HIGHEST * Math.min(1, to / from);
    this.#reach = Math.ceil(CROSSINGS / this.#cutOff);
    this.#held = new Float32Array(this.#reach - 1); // silence before the first
    this.#place = this.#held.length * this.#shares;
  }

  /** The samples that there are now; the others come with the next block. */
  take(block) {
    if (this.#step === this.#shares) return block;
    const samples = new Float32Array(this.#held.length + block.length);
    samples.set(this.#held);
    samples.set(block, this.#held.length);
    const end = (samples.length - this.#reach) * this.#shares;
    const made = new Float32Array(Math.max(0, Math.ceil((end - this.#place) / this.#step)));
    for (let index = 0; index < made.length; index++) {
      const first = Math.floor(this.#place / this.#shares) - this.#reach + 1;
      const filter = this.#filter(this.#place % this.#shares);
      for (let each = 0; each < filter.length; each++) made[index] += filter[each] * samples[first + each];
      this.#place += this.#step;
    }
    const over = Math.min(samples.length, Math.floor(this.#place / this.#shares) - this.#reach + 1);
    this.#held = samples.slice(over);
    this.#place -= over * this.#shares;
    return made;
  }

  #filter(share) {
    let filter = this.#filters.get(share);
    if (filter) return filter;
    filter = new Float32Array(2 * this.#reach);
    let sum = 0;
    for (let each = 0; each < filter.length; each++) {
      const distance = each - this.#reach + 1 - share / this.#shares;
      filter[each] = sinc(this.#cutOff * distance) * blackman(distance / this.#reach);
      sum += filter[each];
    }
    filter = filter.map((weight) => weight / sum);
    this.#filters.set(share, filter);
    return filter;
  }
}

function sinc(place) {
  return place ? Math.sin(Math.PI * place) / (Math.PI * place) : 1;
}

/** A window that is 1 at 0, and 0 at -1 and 1. */
function blackman(place) {
  return 0.42 + 0.5 * Math.cos(Math.PI * place) + 0.08 * Math.cos(2 * Math.PI * place);
}

function greatestDivisor(one, other) {
  return other ? greatestDivisor(other, one % other) : one;
}
