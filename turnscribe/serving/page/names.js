// The names of the speakers: the server's, and those that the person gave them, which the tab remembers.

export class SpeakerNames {
  #store;
  #key;
  #given; // the server's -> the person's

  constructor(store, job) {
    this.#store = store;
    this.#key = `turnscribe.names.${job}`;
    this.#given = new Map(Object.entries(JSON.parse(store.get(this.#key) ?? "{}")));
  }

  /** The name shown. */
  of(speaker) {
    return this.#given.get(speaker) ?? speaker;
  }

  /** `text`: as the person typed it; nothing but spaces gives back the server's name. */
  give(speaker, text) {
    const name = text.trim().replaceAll(/\s+/g, " ");
    if (name && name !== speaker) this.#given.set(speaker, name);
    else this.#given.delete(speaker);
    this.#store.set(this.#key, JSON.stringify(Object.fromEntries(this.#given)));
  }

  /** Pairs of the server's name and the person's. */
  [Symbol.iterator]() {
    return this.#given[Symbol.iterator]();
  }
}
