// The browser's database, as four verbs. Where a browser has none, or refuses it, what is put lasts as long as the page.

const NAME = "turnscribe";
const VERSION = 1;
/** The stores, each with the field that is its key. */
const STORES = { transcripts: "id", documents: "id", recordings: "key", orders: "key" };

export class Database {
  #opened;
  #memory = new Map(Object.keys(STORES).map((store) => [store, new Map()]));

  constructor() {
    this.#opened = opened().catch(() => null);
  }

  get(store, key) {
    return this.#ask(store, "readonly", (table) => table.get(key), (map) => map.get(key));
  }

  all(store) {
    return this.#ask(store, "readonly", (table) => table.getAll(), (map) => [...map.values()]);
  }

  put(store, value) {
    const key = value[STORES[store]];
    return this.#ask(store, "readwrite", (table) => table.put(value), (map) => map.set(key, value) && key);
  }

  remove(store, key) {
    return this.#ask(store, "readwrite", (table) => table.delete(key), (map) => map.delete(key));
  }

  async #ask(store, mode, question, remembered) {
    const database = await this.#opened;
    if (!database) return remembered(this.#memory.get(store));
    return new Promise((resolve, reject) => {
      const transaction = database.transaction(store, mode);
      const request = question(transaction.objectStore(store));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = transaction.onerror = () => reject(transaction.error ?? request.error);
    });
  }
}

function opened() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, VERSION);
    request.onupgradeneeded = () => {
      for (const [store, keyPath] of Object.entries(STORES)) request.result.createObjectStore(store, { keyPath });
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = request.onblocked = () => reject(request.error);
  });
}
