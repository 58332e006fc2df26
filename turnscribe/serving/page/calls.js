// The calls to the server: the key they carry, their errors as sentences. Knows no element of the page.

// This file is served as <root>/ui/calls.js, whatever the prefix a proxy puts before it.
const root = new URL("..", import.meta.url);
const KEPT = "turnscribe.key";

let key = kept(KEPT) ?? "";
let ask = null; // (reason) => Promise<string>; one question at a time, however many calls wait for it
let asked = null;

/** What the server refused, in its own sentence. `status` is HTTP's. */
export class Refused extends Error {
  constructor(status, sentence, retryAfter = null) {
    super(sentence);
    this.status = status;
    this.retryAfter = retryAfter; // seconds, where the server named them
  }

  get temporary() {
    return this.status === 429 || this.status >= 500;
  }
}

/** The server gave no answer at all. */
export class Unreachable extends Error {}

/** `question(reason)` resolves to the key that the person typed. */
export function whenKeyNeeded(question) {
  ask = question;
}

/** A GET, or another method without a body; the response, once it is a good one. */
export async function call(path, { method = "GET", signal } = {}) {
  for (;;) {
    const sent = key;
    let response;
    try {
      response = await fetch(new URL(path, root), { method, signal, headers: headers(), cache: "no-store" });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Unreachable("The server cannot be reached.");
    }
    if (response.ok) return response;
    const refused = refusal(response.status, await response.text(), response.headers.get("Retry-After"));
    if (refused.status !== 401) throw refused;
    await newKey(sent, refused.message, signal);
  }
}

/** POSTs a form and reports the share of it that is sent; fetch() cannot tell. The answer's JSON. */
export async function upload(path, form, { onProgress, signal }) {
  for (;;) {
    const sent = key;
    try {
      return await send(path, form, onProgress, signal);
    } catch (error) {
      if (error.status !== 401) throw error;
      await newKey(sent, error.message, signal);
    }
  }
}

/** sessionStorage, which throws where the browser keeps nothing. */
export function kept(name) {
  try {
    return sessionStorage.getItem(name);
  } catch {
    return null;
  }
}

export function keep(name, value) {
  try {
    sessionStorage.setItem(name, value);
  } catch {
    // It lasts as long as the page, then.
  }
}

function send(path, form, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", new URL(path, root));
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
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

function headers() {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

async function newKey(refusedKey, reason, signal) {
  if (key !== refusedKey) return; // another call has been given a new one meanwhile
  asked ??= ask(reason).then((answer) => {
    key = answer;
    keep(KEPT, key);
    asked = null;
  });
  await asked;
  signal?.throwIfAborted();
}

function refusal(status, body, retryAfter) {
  const answer = parsed(body);
  const said = answer?.error?.message ?? answer?.error ?? answer?.detail;
  const seconds = Number.parseInt(retryAfter ?? "", 10);
  return new Refused(
    status,
    typeof said === "string" && said ? said : `The server answered with status ${status} and said no more.`,
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
