// The recordings that this browser keeps: files of the origin's own file system, or blobs in the database where a
// browser has no such files.

export class Recordings {
  #database;

  constructor(database) {
    this.#database = database;
  }

  /** Keeps a copy of the file. Rejects where the browser has no room for it. */
  async keep(key, file) {
    const { name, type, size } = file;
    const entry = { key, name, type, size, blob: null };
    if (!(await written(key, file))) entry.blob = new Blob([file], { type });
    await this.#database.put("recordings", entry);
  }

  /** The recording as a file; null where there is none. */
  async get(key) {
    const entry = key && (await this.#database.get("recordings", key));
    if (!entry) return null;
    try {
      const content = entry.blob ?? (await (await (await folder()).getFileHandle(key)).getFile());
      return new File([content], entry.name, { type: entry.type });
    } catch {
      return null; // the browser made room
    }
  }

  /** Key -> size in bytes, of all of them. */
  async sizes() {
    return new Map((await this.#database.all("recordings")).map(({ key, size }) => [key, size]));
  }

  async remove(key) {
    await this.#database.remove("recordings", key);
    await folder()
      .then((root) => root.removeEntry(key))
      .catch(() => {}); // it was a blob, or never there
  }
}

async function folder() {
  return (await navigator.storage.getDirectory()).getDirectoryHandle("recordings", { create: true });
}

/** Whether the file is in the origin's file system now. */
async function written(key, file) {
  let stream = null;
  try {
    stream = await (await (await folder()).getFileHandle(key, { create: true })).createWritable();
    await stream.write(file);
    await stream.close();
    return true;
  } catch (error) {
    await stream?.abort().catch(() => {});
    if (error.name === "QuotaExceededError") throw error;
    return false;
  }
}
