// The page: choose, record or go live, send, wait, read and listen. This file makes its parts and hands them to each
// other; `session.js` has the way through them. The address keeps the job's id, so that a reload goes on where it was.

import { Desk } from "./desk.js";
import { Downloads } from "./downloads.js";
import { Editor } from "./editor.js";
import { elements } from "./elements.js";
import { Find } from "./find.js";
import { Frame } from "./frame.js";
import { Jobs } from "./jobs.js";
import { Database } from "./kept/database.js";
import { KeptList } from "./kept/list.js";
import { Shelf } from "./kept/shelf.js";
import { KeyForm } from "./key-form.js";
import { Live } from "./live.js";
import { LiveButtons } from "./live-buttons.js";
import { LiveText } from "./live-text.js";
import { LiveView } from "./live-view.js";
import { MendingBar } from "./mending-bar.js";
import { NameFields } from "./name-fields.js";
import { Notices } from "./notices.js";
import { Options } from "./options.js";
import { patiently } from "./patience.js";
import { PlayerPanel } from "./player-panel.js";
import { Queue } from "./queue.js";
import { QueueList } from "./queue-list.js";
import { RecordButton } from "./record-button.js";
import { Result } from "./result.js";
import { Server } from "./server.js";
import { Session } from "./session.js";
import { StartForm } from "./start-form.js";
import { Store } from "./store.js";
import { TranscriptView } from "./transcript.js";
import { Work } from "./work.js";

const store = new Store();
const keyForm = new KeyForm(elements("key-form", "key", "key-reason"));
// This file is served as <root>/ui/page.js, whatever the prefix a proxy puts before it.
const server = new Server(new URL("..", import.meta.url), { store, askForKey: (reason) => keyForm.ask(reason) });
const jobs = new Jobs(server);
const database = new Database();
const shelf = new Shelf(database);
const queue = new Queue({ database, shelf, jobs });

const { anew, cancel, remove, copyAll, doubts, transcript, sure } = elements(
  "anew", "cancel", "remove", "copy-all", "doubts", "transcript", "sure",
);
const frame = new Frame(elements("start", "work", "live", "result"), anew);
const notices = new Notices(elements("status", "error"));

const recordButton = new RecordButton(elements("record", "record-label", "record-note"), {
  notices,
  onStart: () => start.showRecording(),
  onFile: (file) => start.choose([file]),
});
const start = new StartForm(elements("form", "file", "drop", "chosen", "send", "play-in"), {
  notices,
  recordButton,
  onSend: (files) => (files.length === 1 ? session.transcribe(files[0]) : session.transcribeAll(files)),
});
new LiveButtons(elements("listen", "listen-note", "play-in"), {
  notices,
  recordButton,
  onListen: () => session.listen(),
  onPlayIn: () => session.listen(start.file),
});
const options = new Options({
  ...elements("language", "language-field", "speakers", "speakers-field", "assisted", "assisted-field"),
  ...elements("task", "task-field", "prompt", "keywords", "channels"),
  ...elements("min-speakers", "min-field", "max-speakers", "max-field"),
});
const kept = new KeptList(elements("kept", "kept-list"), { shelf, notices, onOpen: (id) => (location.hash = `job=${id}`) });
new QueueList(elements("under-way", "under-way-list"), { queue, notices });
const work = new Work(elements("work-title", "work-name", "bar", "phase"), { frame, notices });
const live = new Live(server, {
  notices,
  view: new LiveView(
    elements("live-title", "live-name", "live-state", "live-delay", "live-note", "live-stop"),
    { frame, notices },
  ),
  text: new LiveText(elements("live-log", "live-unfinished", "live-waiting")),
});

const downloads = new Downloads(elements("downloads", "download-menu", "download-buttons"), { server, notices });
const nameFields = new NameFields(elements("names", "timeline"), { onRename: (id, name) => desk.rename(id, name) });
const panel = new PlayerPanel(
  {
    ...elements("player", "audio", "absent", "absent-text", "again"),
    ...elements("play", "back", "forward", "now", "length", "speaking", "follow", "speed"),
    ...elements("lanes", "canvas", "head", "hover"),
  },
  { notices, onRecording: (file) => desk.takeRecording(file) },
);
panel.transcript = new TranscriptView(transcript, sure, {
  ...panel.events,
  onReach: () => desk.placed(),
  onEdit: () => desk.editText(),
  onSplit: () => desk.split(),
});
const result = new Result(elements("result-title", "facts", "warnings", "expires", "remove", "doubts-field"), { frame, notices });
const find = new Find(elements("find", "found", "find-back", "find-next"), panel.transcript);
const desk = new Desk({ result, panel, nameFields, downloads, find, editor: new Editor(), notices, shelf });
desk.bar = new MendingBar(
  elements("undo", "redo", "mending-turn", "edit-text", "turn-speaker", "split", "join", "copy-turn"),
  desk.events,
);
const session = new Session({ frame, notices, jobs, start, options, work, live, panel, desk, shelf, queue });

anew.addEventListener("click", () => session.startAnew());
cancel.addEventListener("click", () => session.cancel());
remove.addEventListener("click", () => session.remove());
copyAll.addEventListener("click", () => desk.copyAll());
doubts.addEventListener("change", () => transcript.classList.toggle("doubts", doubts.checked));
addEventListener("hashchange", () => session.visit());
addEventListener("beforeunload", (event) => {
  if (recordButton.busy || session.unsaved || shelf.busy) event.preventDefault();
});

/** The JSON of what the page needs to know of the server, however long its models take to load. */
async function ask(path) {
  let shown = ""; // our own sentence goes away again, another's stays
  const onTrouble = (sentence) => {
    shown = sentence;
    notices.error ||= sentence;
  };
  const answer = await patiently(() => server.json(path), { onTrouble });
  if (shown && notices.error === shown) notices.error = "";
  return answer;
}

frame.view = "start";
kept.show();
session.visit();
queue.resume();
ask("v1/models")
  .then((models) => options.show(models.data?.[0]?.turnscribe ?? {}))
  .catch((error) => notices.explain(error));
ask("ui/formats.json")
  .then((formats) => downloads.offer(formats))
  .catch((error) => notices.explain(error));
