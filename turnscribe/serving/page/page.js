// The page: choose or record, send, wait, read and listen. The address keeps the job's id (#job=...), so that a
// reload goes on where it was. Whatever the server says is inserted as text, never as markup.

import { call, keep, kept, Refused, Unreachable, upload, whenKeyNeeded } from "./calls.js";
import { clock, COLOURS, conversation, renamed, renamedJson, spokenTime } from "./conversation.js";
import { Player } from "./player.js";
import { record, whyNot } from "./recorder.js";
import { Timeline } from "./timeline.js";
import { TranscriptView } from "./transcript.js";

const byId = (id) => document.getElementById(id);
const POLL = [300, 2000]; // milliseconds between two questions about a job: at first, at most
const PATIENCE = [1000, 15000]; // the same while the server does not answer

let file = null; // chosen or recorded; stays here, for the player
let recording = null;
let running = new AbortController(); // what is under way; aborted when something else begins
let job = null; // the id of the job on the page
let answer = null;
let problem = null; // why the player has no audio, where it is not simply absent
let names = new Map(); // the server's speaker -> the name given in the page

const transcript = new TranscriptView(byId("transcript"), { onGo: go, onPlay: playFrom, onToggle: toggle });
const timeline = new Timeline(
  { lanes: byId("lanes"), canvas: byId("canvas"), head: byId("head"), hover: byId("hover") },
  { onSeek: go, onToggle: toggle },
);
const player = new Player(byId("audio"), {
  onTime: showTime,
  onState: showPlaying,
  onLoaded: compareLength,
  onProblem: (sentence) => {
    problem = sentence;
    showAbsent();
  },
});

// --- Views --------------------------------------------------------------------------------------------------

function show(view) {
  for (const id of ["start", "work", "result"]) byId(id).hidden = id !== view;
  byId("anew").hidden = view === "start";
  document.body.dataset.view = view;
}

function say(sentence) {
  byId("status").textContent = sentence;
}

function showError(sentence) {
  byId("error").textContent = sentence;
  byId("error").hidden = !sentence;
}

/** The error in words for people; nothing where it is the person who stopped. */
function explain(error) {
  if (error.name === "AbortError") return;
  let sentence = error.message;
  if (error instanceof Refused && error.retryAfter) sentence += ` Try again in ${spokenTime(error.retryAfter)}.`;
  if (!(error instanceof Refused || error instanceof Unreachable)) {
    console.error(error);
    sentence = `This page failed: ${error.message}`;
  }
  showError(sentence);
}

/** Stops what is under way. */
function begin() {
  running.abort();
  running = new AbortController();
  showError("");
  return running.signal;
}

function address(id) {
  history.replaceState(null, "", id ? `#job=${encodeURIComponent(id)}` : location.pathname + location.search);
}

function startView() {
  begin();
  player.clear();
  job = answer = null;
  address(null);
  document.title = "Turnscribe";
  choose(null);
  show("start");
  byId("file").focus();
}

// --- The key ------------------------------------------------------------------------------------------------

whenKeyNeeded(
  (reason) =>
    new Promise((resolve) => {
      const form = byId("key-form");
      byId("key-reason").textContent = reason;
      form.hidden = false;
      byId("key").value = "";
      byId("key").focus();
      form.onsubmit = (event) => {
        event.preventDefault();
        form.hidden = true;
        resolve(byId("key").value.trim());
      };
    }),
);

// --- Start: a file or a recording, and the options ----------------------------------------------------------

function choose(chosen) {
  file = chosen;
  offer();
  if (file) say(`${file.name} is chosen.`);
  else byId("file").value = "";
}

function offer() {
  byId("send").disabled = !file;
  byId("drop").classList.toggle("full", Boolean(file));
  byId("chosen").textContent = file ? `${file.name} (${size(file.size)})` : "Drop an audio or video file here, or";
}

function size(bytes) {
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1e3))} kB`;
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}

async function toggleRecording() {
  if (recording) {
    const stopped = recording;
    recording = null;
    clearInterval(stopped.ticking);
    byId("record").classList.remove("on");
    byId("record-label").textContent = "Record";
    choose(await stopped.stop());
    return;
  }
  showError("");
  try {
    byId("record").disabled = true;
    recording = await record();
  } catch (error) {
    return showError(error.message);
  } finally {
    byId("record").disabled = false;
  }
  const began = Date.now();
  const mine = recording;
  const tick = () => (byId("record-label").textContent = `Stop, ${clock((Date.now() - began) / 1000)}`);
  recording.ticking = setInterval(tick, 500);
  recording.ended.then(() => recording === mine && toggleRecording());
  tick();
  byId("record").classList.add("on");
  byId("send").disabled = true;
  byId("chosen").textContent = "Recording";
  say("Recording.");
}

async function showOptions() {
  const models = await (await patiently(() => call("v1/models"))).json();
  const can = models.data?.[0]?.turnscribe ?? {};
  byId("assisted-field").hidden = !can.assistant;
  byId("speakers-field").hidden = can.diarization === false;
  const languages = can.languages ?? [];
  if (can.multilingual === false || languages.length < 2) return;
  const named = new Intl.DisplayNames(["en"], { type: "language", fallback: "code" });
  const entries = languages.map((code) => [code, languageName(named, code)]);
  entries.sort(([, one], [, other]) => one.localeCompare(other));
  byId("language").append(...entries.map(([code, name]) => new Option(name, code)));
  byId("language-field").hidden = false;
}

/** Again and again while the server loads its models, say. */
async function patiently(attempt) {
  for (let patience = PATIENCE[0], told = ""; ; patience = Math.min(patience * 2, PATIENCE[1])) {
    try {
      const response = await attempt();
      if (told && byId("error").textContent === told) showError("");
      return response;
    } catch (error) {
      if (!(error instanceof Unreachable || error.temporary)) throw error;
      told = `${error.message} This page keeps asking.`;
      if (byId("error").hidden) showError(told);
      await rest(patience);
    }
  }
}

function languageName(named, code) {
  try {
    return named.of(code);
  } catch {
    return code; // not a code that the browser knows
  }
}

// --- Send and wait ------------------------------------------------------------------------------------------

async function transcribe() {
  if (!file) return;
  const signal = begin();
  const form = new FormData();
  const options = {
    timestamps: "word",
    language: byId("language").value,
    num_speakers: byId("speakers").value,
    assisted: byId("assisted").checked ? "true" : "",
  };
  for (const [name, value] of Object.entries(options)) if (value) form.append(name, value);
  form.append("file", file, file.name); // last: the server knows the options when the audio arrives
  listenTo(file);
  job = answer = null;
  waiting("Uploading", 0);
  say("Uploading.");
  try {
    const accepted = await upload("v1/jobs", form, { onProgress: (share) => waiting("Uploading", share), signal });
    signal.throwIfAborted();
    address(accepted.id);
    await follow(accepted.id, signal);
  } catch (error) {
    if (signal.aborted) return;
    giveUp(error);
  }
}

/** Goes on with the job in the address; the recording is not here then. */
async function resume(id) {
  const signal = begin();
  player.clear();
  file = null;
  waiting("Asking for the transcript", null);
  try {
    await follow(id, signal);
  } catch (error) {
    if (signal.aborted) return;
    giveUp(error);
  }
}

function backToStart() {
  player.clear();
  job = null;
  address(null);
  document.title = "Turnscribe";
  show("start");
  offer();
}

function giveUp(error) {
  backToStart();
  explain(error);
}

async function follow(id, signal) {
  job = id;
  let [pause] = POLL;
  let patience = PATIENCE[0];
  for (;;) {
    let state;
    try {
      state = await (await call(`v1/jobs/${encodeURIComponent(id)}`, { signal })).json();
      showError("");
      patience = PATIENCE[0];
    } catch (error) {
      if (signal.aborted || !(error instanceof Unreachable || error.temporary)) throw error;
      showError(`${error.message} This page keeps asking.`);
      await rest(patience, signal);
      patience = Math.min(patience * 2, PATIENCE[1]);
      continue;
    }
    if (state.status === "done") return showResult(state, signal);
    if (state.status === "failed") throw new Refused(422, state.error?.message ?? "The transcription failed.");
    if (state.status === "cancelled") throw new Refused(409, "This transcription was cancelled.");
    if (state.status === "queued") waiting(place(state.position), null);
    else waiting("Transcribing", state.progress || null);
    await rest(pause, signal);
    pause = Math.min(pause * 1.3, POLL[1]);
  }
}

function place(ahead) {
  return ahead ? `Waiting, ${ahead} ahead in line` : "Waiting, next in line";
}

function rest(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

let announced = "";

/** `share`: of this phase, 0 to 1; null where nobody knows. */
function waiting(phase, share) {
  if (byId("work").hidden) {
    show("work");
    byId("work-name").textContent = file?.name ?? "";
    byId("work-title").focus();
    announced = "";
  }
  const bar = byId("bar");
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
  const percent = share === null ? "" : `${Math.floor(share * 100)} %`;
  byId("phase").textContent = percent ? `${phase}, ${percent}` : `${phase} …`;
  document.title = percent ? `${percent} – Turnscribe` : "Turnscribe";
  const heard = share === null ? phase : `${phase}, ${Math.floor(share * 4) * 25} percent`; // not every percent aloud
  if (heard !== announced) say(heard);
  announced = heard;
}

async function cancel() {
  const id = job;
  begin();
  backToStart();
  say("Cancelled.");
  byId(file ? "send" : "file").focus();
  if (id) await call(`v1/jobs/${encodeURIComponent(id)}`, { method: "DELETE" }).catch(explain);
}

// --- The transcript -----------------------------------------------------------------------------------------

async function showResult(state, signal) {
  answer = state.result ?? (await (await call(`v1/jobs/${encodeURIComponent(job)}/result`, { signal })).json());
  const talk = conversation(answer);
  names = new Map(Object.entries(JSON.parse(kept(`turnscribe.names.${job}`) ?? "{}")));
  const title = file?.name ?? state.filename ?? "Transcript";
  byId("result-title").textContent = title;
  document.title = `${title} – Turnscribe`;
  byId("facts").textContent = facts(talk).join(" · ");
  const warnings = (answer.warnings ?? []).map((sentence) => {
    const item = document.createElement("li");
    item.textContent = sentence;
    return item;
  });
  byId("warnings").replaceChildren(...warnings);
  byId("warnings").hidden = !warnings.length;
  byId("length").textContent = clock(talk.duration);
  byId("expires").textContent = forgets(state.expires_at);
  showNames(talk);
  show("result");
  if (player.present) byId("absent").hidden = true;
  else showAbsent();
  const built = transcript.show(talk, names, answer.language);
  timeline.show(talk, (seconds) => transcript.speakerAt(seconds));
  showTime(player.time);
  byId("result-title").focus({ preventScroll: true });
  scrollTo(0, 0);
  say(`The transcript is ready: ${facts(talk).join(", ")}.`);
  await built;
}

function facts({ duration, speakers }) {
  const found = [clock(duration)];
  if (answer.language) {
    found.push(languageName(new Intl.DisplayNames(["en"], { type: "language", fallback: "code" }), answer.language));
  }
  if (speakers.length) found.push(speakers.length === 1 ? "1 speaker" : `${speakers.length} speakers`);
  const took = answer.timings?.total;
  if (took) found.push(`transcribed in ${took < 10 ? took.toFixed(1) : Math.round(took)} s`);
  return found;
}

function forgets(when) {
  const moment = typeof when === "number" ? new Date(when * 1000) : new Date(when ?? Number.NaN);
  if (Number.isNaN(moment.getTime())) return "";
  const day = moment.toDateString() === new Date().toDateString() ? "" : `${moment.toLocaleDateString()} `;
  const time = moment.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return `The server forgets this transcript at ${day}${time}.`;
}

function showNames(talk) {
  byId("timeline").classList.toggle("nameless", !talk.speakers.length);
  byId("names").replaceChildren(
    ...talk.speakers.map((speaker, number) => {
      const label = document.createElement("label");
      label.className = `speaker-${number % COLOURS}`;
      const input = document.createElement("input");
      input.value = names.get(speaker) ?? speaker;
      input.placeholder = speaker;
      input.maxLength = 60;
      input.spellcheck = false;
      input.autocomplete = "off";
      input.setAttribute("aria-label", `Name of ${speaker}`);
      input.addEventListener("change", () => rename(speaker, input));
      input.addEventListener("keydown", (event) => event.key === "Enter" && input.blur());
      label.append(input);
      return label;
    }),
  );
}

function rename(speaker, input) {
  const name = input.value.trim().replaceAll(/\s+/g, " ");
  if (name && name !== speaker) names.set(speaker, name);
  else names.delete(speaker);
  input.value = name || speaker;
  keep(`turnscribe.names.${job}`, JSON.stringify(Object.fromEntries(names)));
  transcript.rename();
  showTime(player.time);
  say(`${speaker} is now called ${input.value}, in the page and in the downloads.`);
}

async function download(format) {
  try {
    showError("");
    const text = format === "json" ? renamedJson(answer, names) : await rendering(format);
    const type = { srt: "application/x-subrip", vtt: "text/vtt", json: "application/json", txt: "text/plain" }[format];
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = `${(byId("result-title").textContent || "transcript").replace(/\.[^.]{1,5}$/, "")}.${format}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    say(`${format.toUpperCase()} downloaded.`);
  } catch (error) {
    explain(error);
  }
}

async function rendering(format) {
  const name = format === "txt" ? "text" : format;
  const response = await call(`v1/jobs/${encodeURIComponent(job)}/result?response_format=${name}`);
  return renamed(await response.text(), format, names);
}

async function remove() {
  try {
    await call(`v1/jobs/${encodeURIComponent(job)}`, { method: "DELETE" });
    startView();
    say("The server has removed the transcript.");
  } catch (error) {
    explain(error);
  }
}

// --- Listening ----------------------------------------------------------------------------------------------

function go(seconds) {
  transcript.attend();
  player.seek(seconds);
}

function playFrom(seconds) {
  go(seconds);
  if (!player.play()) say("The recording is not in this page: choose it above to listen.");
}

function toggle() {
  if (!player.toggle()) say("The recording is not in this page: choose it above to listen.");
}

function showTime(seconds) {
  if (!answer) return;
  const now = clock(seconds);
  if (byId("now").textContent !== now) byId("now").textContent = now;
  timeline.move(seconds);
  transcript.move(seconds, byId("follow").checked && player.playing);
  const who = transcript.speakerAt(seconds);
  if (byId("speaking").textContent !== who) byId("speaking").textContent = who;
}

function showPlaying(playing) {
  byId("play").classList.toggle("playing", playing);
  byId("play").setAttribute("aria-label", playing ? "Pause" : "Play");
}

function showAbsent() {
  byId("absent-text").textContent =
    problem ?? "The recording is no longer in this page. Choose the file again to listen while you read.";
  byId("absent").hidden = false;
  for (const id of ["play", "back", "forward"]) byId(id).disabled = true;
  showPlaying(false);
}

function listenTo(chosen) {
  problem = null;
  player.load(chosen);
}

/** A file chosen after a reload may be another one. */
function compareLength(seconds) {
  for (const id of ["play", "back", "forward"]) byId(id).disabled = false;
  byId("absent").hidden = true;
  if (answer?.duration && Math.abs(answer.duration - seconds) > 2 + answer.duration / 50) {
    showError(
      `This file lasts ${clock(seconds)}, the transcript ${clock(answer.duration)}: it may be another recording.`,
    );
  }
}

// --- What the person does -----------------------------------------------------------------------------------

byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  transcribe();
});
byId("file").addEventListener("change", () => byId("file").files[0] && choose(byId("file").files[0]));
byId("record").addEventListener("click", toggleRecording);
byId("cancel").addEventListener("click", cancel);
byId("anew").addEventListener("click", startView);
byId("remove").addEventListener("click", remove);
byId("play").addEventListener("click", toggle);
byId("back").addEventListener("click", () => go(player.time - 5));
byId("forward").addEventListener("click", () => go(player.time + 5));
byId("speed").addEventListener("change", () => player.speed(Number(byId("speed").value)));
for (const button of document.querySelectorAll("[data-format]")) {
  button.addEventListener("click", () => download(button.dataset.format));
}
byId("again").addEventListener("change", () => {
  const [chosen] = byId("again").files;
  if (!chosen) return;
  showError("");
  file = chosen;
  byId("result-title").textContent = chosen.name;
  listenTo(chosen);
  byId("again").value = "";
});

const drop = byId("drop");
for (const name of ["dragenter", "dragover"]) {
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer.files[0] && !recording) choose(event.dataTransfer.files[0]);
});

addEventListener("beforeunload", (event) => {
  if (recording || (!byId("work").hidden && !job)) event.preventDefault(); // not yet anywhere but here
});
addEventListener("hashchange", fromAddress);

new ResizeObserver(([{ target }]) => {
  document.documentElement.style.setProperty("--player-height", `${target.offsetHeight}px`);
}).observe(byId("player"));

function fromAddress() {
  const id = new URLSearchParams(location.hash.slice(1)).get("job");
  if (id && id !== job) resume(id);
  else if (!id && job) startView();
}

const reason = whyNot();
if (reason) {
  byId("record").disabled = true;
  byId("record-note").textContent = reason;
  byId("record-note").hidden = false;
}
show("start");
fromAddress();
showOptions().catch(explain);
