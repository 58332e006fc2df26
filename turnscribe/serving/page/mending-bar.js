// The bar below the text: undo and redo, and what can be done with the turn of the chosen word.

import { element } from "./elements.js";
import { nameOf, turnAround } from "./mended/document.js";
import { clock } from "./times.js";

const NEW = "+"; // the option's value; no speaker's, since those have a mark before them
const NOBODY = "-";

export class MendingBar {
  #parts;

  /**
   * `parts`: the elements undo, redo, mendingTurn, editText, turnSpeaker, split, join, copyTurn. `events`: onUndo(),
   * onRedo(), onEdit(), onAssign(id), onAssignNew(), onSplit(), onJoin(), onCopy().
   */
  constructor(parts, events) {
    this.#parts = parts;
    for (const [name, event] of Object.entries({
      undo: events.onUndo,
      redo: events.onRedo,
      editText: events.onEdit,
      split: events.onSplit,
      join: events.onJoin,
      copyTurn: events.onCopy,
    })) {
      parts[name].addEventListener("click", () => event());
    }
    parts.turnSpeaker.addEventListener("change", ({ target: { value } }) => {
      if (value === NEW) events.onAssignNew();
      else events.onAssign(value === NOBODY ? null : value.slice(1));
    });
  }

  /** `place`: {paragraph, word} of the chosen word, null where nothing was said. */
  show({ past, present, future }, place) {
    const { undo, redo, mendingTurn, editText, turnSpeaker, split, join, copyTurn } = this.#parts;
    undo.disabled = !past.length;
    redo.disabled = !future.length;
    name(undo, "Undo", past.at(-1)?.what);
    name(redo, "Redo", future[0]?.what);
    for (const part of [editText, turnSpeaker, split, join, copyTurn]) part.disabled = !place;
    if (!place) return;
    const [first] = turnAround(present, place.paragraph);
    const turn = present.paragraphs[first];
    const paragraph = present.paragraphs[place.paragraph];
    const { speaker, words } = turn;
    const who = nameOf(present, speaker);
    mendingTurn.textContent = who ? `${who}, ${clock(words[0].start)}` : clock(words[0].start);
    turnSpeaker.replaceChildren(
      ...present.speakers.map(({ id, name }) => option(name, `=${id}`)),
      option("New speaker", NEW),
      ...(speaker ? [] : [option("Nobody", NOBODY)]),
    );
    turnSpeaker.value = speaker ? `=${speaker}` : NOBODY;
    split.disabled = !place.word && paragraph.opens;
    name(split, "Split", `before “${paragraph.words[place.word].text}”`);
    join.disabled = first === 0;
  }
}

function option(label, value) {
  const made = element("option", "", label);
  made.value = value;
  return made;
}

function name(button, label, what) {
  const sentence = what ? `${label} ${what}` : label;
  button.title = sentence;
  button.setAttribute("aria-label", sentence);
}
