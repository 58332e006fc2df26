// The server: the calls to it, the key they carry, its refusals as sentences. Knows no element of the page.

const KEY = "turnscribe.key"; // its name in the store
const PROTOCOL = "realtime"; // of a WebSocket
const KEY_PROTOCOL = "openai-insecure-api-key."; // and the key behind it: a browser can send no header

/** What the server refused, in its own sentence. `status` is HTTP's, `retryAfter` seconds where it named them. */
export class Refused extends Error {
  constructor(status, sentence, retryAfter = null) {
    super(sentence);
    this.status = status;
    this.retryAfter = retryAfter;
  }

  get temporary() {
    return this.status === 429 || this.status >= 500;
  }
}

/** The server gave no answer at all. */
export class Unreachable extends Error {
  get temporary() {
    return true;
  }
}

export class Server {
  #root;
  #store;
  #askForKey;
  #key;
  #question = null; // one at a time, however many calls wait for the key

  /** `root`: the URL that paths start from. `askForKey(reason)` resolves to the key that the person typed. */
  constructor(root, { store, askForKey }) {
    this.#root = root;
    this.#store = store;
    this.#askForKey = askForKey;
    this.#key = store.get(KEY) ?? "";
  }

  /** A GET, or another method; the response, once it is a good one. `body`: a value that goes as JSON. */
  async call(path, { method = "GET", body, signal } = {}) {
    for (;;) {
      const key = this.#key;
      let response;
      try {
        const headers = { ...this.#headers(), ...(body && { "Content-Type": "application/json" }) };
        const sent = { method, signal, headers, cache: "no-store", body: body && JSON.stringify(body) };
        response = await fetch(new URL(path, this.#root), sent);
      } catch (error) {
        if (signal?.aborted) throw error;
        throw new Unreachable("The server cannot be reached.");
      }
      if (response.ok) return response;
      const refused = refusal(response.status, await response.text(), response.headers.get("Retry-After"));
      if (refused.status !== 401) throw refused;
      await this.#renewKey(key, refused.message, signal);
    }
  }

  /** The JSON of a GET. */
  async json(path, { signal } = {}) {
    return (await this.call(path, { signal })).json();
  }

  /** The response to a POST of JSON. */
  post(path, body, { signal } = {}) {
    return this.call(path, { method: "POST", body, signal });
  }

  /** POSTs a form and reports the share of it that is sent; fetch() cannot tell. The answer's JSON. */
  async upload(path, form, { onProgress, signal }) {
    for (;;) {
      const key = this.#key;
      try {
        return await this.#send(path, form, onProgress, signal);
      } catch (error) {
        if (error.status !== 401) throw error;
        await this.#renewKey(key, error.message, signal);
      }
    }
  }

  /** A WebSocket, with the key. What the server refuses it does not say there: ask for something else before. */
  socket(path) {
    const url = new URL(path, this.#root);
    url.protocol = url.protocol.replace("http", "ws");
    try {
      return new WebSocket(url, [PROTOCOL, ...(this.#key ? [KEY_PROTOCOL + this.#key] : [])]);
    } catch {
      throw new Refused(401, "A browser cannot send this API key live: it has signs that no subprotocol may have.");
    }
  }

  #send(path, form, onProgress, signal) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", new URL(path, this.#root));
      for (const [name, value] of Object.entries(this.#headers())) request.setRequestHeader(name, value);
      request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
      request.onerror = () =>
        reject(new Unreachable("The upload broke off: the server cannot be reached, or takes no file of this size."));
      request.onabort = () => reject(new DOMException("Cancelled.", "AbortError"));
      request.onload = () => {
        if (request.status >= 200 && request.status < 300) {
          const answer = parsed(request.responseText);
          if (answer) resolve(answer);
          else reject(new Refused(502, "The server's answer could not be read."));
        } else {
          reject(refusal(request.status, request.responseText, request.getResponseHeader("Retry-After")));
        }
      };
      if (signal.aborted) return request.onabort();
      signal.addEventListener("abort", () => request.abort(), { once: true });
      request.send(form);
    });
  }

  #headers() {
    return this.#key ? { Authorization: `Bearer ${this.#key}` } : {};
  }

  async #renewKey(refusedKey, reason, signal) {
    if (this.#key !== refusedKey) return; // another call has been given a new one meanwhile
    this.#question ??= this.#askForKey(reason).then((key) => {
      this.#key = key;
      this.#store.set(KEY, key);
      this.#question = null;
    });
    await this.#question;
    signal?.throwIfAborted();
  }
}

function refusal(status, body, retryAfter) {
  const answer = parsed(body);
  const sentence = answer?.error?.message ?? answer?.error ?? answer?.detail;
  const seconds = Number.parseInt(retryAfter ?? "", 10);
  return new Refused(
    status,
    typeof sentence === "string" && sentence
      ? sentence
      : `The server answered with status ${status} and said no more.`,
    Number.isFinite(seconds) ? seconds : null,
  );
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
