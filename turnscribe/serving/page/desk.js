// The transcript on the page while it is read and mended: its states, and the views of the present one. Each edit is
// kept in this browser at once.

import { copy } from "./clipboard.js";
import { toAnswer, toText } from "./mended/answers.js";
import {
  assign, assignNew, join, nameOf, rename, rewrite, split, textOf, turnAround, turnsOf,
} from "./mended/document.js";
import { begun, edited, redone, undone } from "./mended/history.js";
import { clock } from "./times.js";

export class Desk {
  bar = null; // its view; its buttons do what `events` says

  #views;
  #entry = null;
  #history = null;

  /** `views`: result, panel, nameFields, downloads, find, editor, notices, shelf. */
  constructor(views) {
    this.#views = views;
    document.addEventListener("keydown", (event) => this.#keyed(event));
  }

  /** What the bar's buttons do. */
  get events() {
    return {
      onUndo: () => this.undo(),
      onRedo: () => this.redo(),
      onEdit: () => this.editText(),
      onAssign: (id) => this.#assign(id),
      onAssignNew: () => this.#assignNew(),
      onSplit: () => this.split(),
      onJoin: () => this.#onTurn("joining two turns", join, "Joined with the turn before."),
      onCopy: () => this.#copy(...turnAround(this.#doc, this.#place.paragraph)),
    };
  }

  /** Shows a kept transcript. Resolves when the whole text is there. */
  async open(entry, doc) {
    const { result, panel, nameFields, downloads, find } = this.#views;
    this.close();
    this.#entry = entry;
    this.#history = begun(doc);
    nameFields.show(doc.speakers);
    downloads.show({ transcript: () => toAnswer(this.#doc), speakers: doc.speakers });
    downloads.title = entry.title;
    const built = panel.show(drawn(doc), doc);
    result.show(entry, doc);
    find.show(doc, { anew: true });
    this.placed();
    await built;
    if (this.#entry === entry) find.show(this.#doc);
  }

  close() {
    this.#views.editor.close();
    this.#entry = this.#history = null;
  }

  /** The recording, which was absent. */
  async takeRecording(file) {
    const { shelf, result, downloads } = this.#views;
    const entry = this.#entry;
    if (!entry) return;
    this.#entry = { ...entry, title: file.name, audio: entry.audio ?? entry.id };
    result.title = downloads.title = file.name;
    await shelf.keepRecording(this.#entry.audio, file);
    await shelf.putEntry(this.#entry).catch(() => {});
  }

  /** Another word is the chosen one. */
  placed() {
    if (this.#history) this.bar.show(this.#history, this.#place);
  }

  undo() {
    this.#goTo(undone(this.#history), (history) => `Undone: ${history.future[0].what}.`);
  }

  redo() {
    this.#goTo(redone(this.#history), (history) => `Done again: ${history.past.at(-1).what}.`);
  }

  rename(id, name) {
    const before = this.#doc;
    const doc = rename(before, id, name);
    const united = doc.speakers.length < before.speakers.length;
    const old = nameOf(before, id);
    const sentence = united ? `${old} and ${name.trim()} are one speaker now.` : `${old} is now called ${nameOf(doc, id)}.`;
    this.#edit(doc, united ? "making two speakers one" : "renaming a speaker", sentence);
  }

  editText() {
    const { editor, panel } = this.#views;
    const place = this.#place;
    if (!place || editor.busy) return;
    const { speaker, words } = this.#doc.paragraphs[place.paragraph];
    const name = nameOf(this.#doc, speaker);
    const entry = this.#entry;
    editor.open(panel.transcript.block(place.paragraph).said, textOf(words), {
      label: `Text${name && ` of ${name}`} at ${clock(words[0].start)}`,
      onDone: (text) => {
        if (this.#entry !== entry) return;
        if (text !== null) this.#edit(rewrite(this.#doc, place.paragraph, text), "changing text", "The text is changed.");
        const left = this.#place;
        if (left && document.activeElement === document.body) {
          panel.transcript.reach(left.paragraph, left.word, { focus: true });
        }
      },
    });
  }

  split() {
    this.#onTurn("splitting a turn", (doc, number) => split(doc, number, this.#place.word), "A new turn begins here.");
  }

  copyAll() {
    return this.#copy(0, this.#doc.paragraphs.length);
  }

  get #doc() {
    return this.#history.present;
  }

  get #place() {
    return this.#views.panel.transcript.place;
  }

  #assign(id) {
    const name = nameOf(this.#doc, id) || "nobody";
    this.#onTurn("giving a turn to another", (doc, number) => assign(doc, number, id), `The turn is given to ${name}.`);
  }

  #assignNew() {
    this.#onTurn("giving a turn to a new speaker", assignNew, "The turn is given to a new speaker.");
  }

  #onTurn(what, change, sentence) {
    const place = this.#place;
    if (place && !this.#views.editor.busy) this.#edit(change(this.#doc, place.paragraph), what, sentence);
  }

  #edit(doc, what, sentence) {
    this.#goTo(edited(this.#history, doc, what), () => sentence);
  }

  #goTo(history, sentence) {
    const { downloads, find, nameFields, notices, panel, result, shelf, editor } = this.#views;
    if (!history || history === this.#history || editor.busy) return;
    const before = this.#doc;
    this.#history = history;
    const doc = history.present;
    panel.update(drawn(doc), doc);
    if (doc.speakers !== before.speakers) {
      nameFields.show(doc.speakers);
      downloads.show({ transcript: () => toAnswer(this.#doc), speakers: doc.speakers });
      result.showFacts(this.#entry, doc);
    }
    find.show(doc);
    this.bar.show(history, this.#place);
    notices.say(sentence(history));
    shelf.putDocument(this.#entry.id, doc).catch(() => {
      notices.error = "This browser has no room to keep what you mend: download it before you close the page.";
    });
  }

  async #copy(first, stop) {
    const { notices } = this.#views;
    if (await copy(toText(this.#doc, first, stop))) notices.say("Copied.");
    else notices.error = "The browser did not allow copying.";
  }

  #keyed(event) {
    const { key, ctrlKey, metaKey, shiftKey, altKey, target } = event;
    if (!this.#history || !(ctrlKey || metaKey) || altKey || target.closest?.("input, textarea")) return;
    if (key.toLowerCase() === "z") (shiftKey ? () => this.redo() : () => this.undo())();
    else if (key.toLowerCase() === "y" && !shiftKey) this.redo();
    else return;
    event.preventDefault();
  }
}

/** What the timeline draws. */
function drawn(doc) {
  return { turns: turnsOf(doc), speakers: doc.speakers, duration: doc.duration };
}
