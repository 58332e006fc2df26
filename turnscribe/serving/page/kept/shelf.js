// The transcripts that this browser keeps, as they were last mended, and their recordings.
//
// An entry: {id, title, created, expiresAt, duration, warnings, took, audio}: `id` is the job's, `created` milliseconds,
// `expiresAt` the server's moment, `took` seconds, `audio` the key of the recording. Its document is kept beside it.

import { Recordings } from "./recordings.js";

export class Shelf {
  recordings;

  #database;
  #copying = 0;
  #onChange = () => {};

  constructor(database) {
    this.#database = database;
    this.recordings = new Recordings(database);
  }

  set onChange(listener) {
    this.#onChange = listener;
  }

  /** Whether a recording is on its way. */
  get busy() {
    return this.#copying > 0;
  }

  async put(entry, doc) {
    await this.putDocument(entry.id, doc);
    await this.putEntry(entry);
  }

  /** As it is after an edit. */
  putDocument(id, doc) {
    return this.#database.put("documents", { id, doc });
  }

  /** {entry, doc}; null where there is none. */
  async open(id) {
    const entry = await this.#database.get("transcripts", id);
    const kept = entry && (await this.#database.get("documents", id));
    return kept ? { entry, doc: kept.doc } : null;
  }

  async putEntry(entry) {
    await this.#database.put("transcripts", entry);
    this.#onChange();
  }

  /** Entries with the `size` of their recordings, 0 where there is none, the newest first. */
  async list() {
    const sizes = await this.recordings.sizes();
    const entries = await this.#database.all("transcripts");
    return entries
      .map((entry) => ({ ...entry, size: sizes.get(entry.audio) ?? 0 }))
      .sort((one, other) => other.created - one.created);
  }

  async removeRecording(entry) {
    await this.recordings.remove(entry.audio);
    this.#onChange();
  }

  async remove(entry) {
    await this.recordings.remove(entry.audio);
    await this.#database.remove("documents", entry.id);
    await this.#database.remove("transcripts", entry.id);
    this.#onChange();
  }

  /** Whatever keeps the recording under `key` from being kept, the transcript stands without it. */
  async keepRecording(key, file) {
    this.#copying++;
    try {
      await this.recordings.keep(key, file);
      this.#onChange();
      return true;
    } catch {
      return false;
    } finally {
      this.#copying--;
    }
  }
}
