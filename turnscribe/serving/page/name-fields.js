// The fields beside the timeline, one for each speaker, in which the speaker can be given another name.

import { COLOURS } from "./conversation.js";
import { element } from "./elements.js";

const LONGEST = 60; // characters of a name

export class NameFields {
  #parts;
  #onRename;

  /** `parts`: the elements names, timeline. `onRename(speaker, name)`. */
  constructor(parts, { onRename }) {
    this.#parts = parts;
    this.#onRename = onRename;
  }

  show(speakers, names) {
    this.#parts.timeline.classList.toggle("nameless", !speakers.length);
    this.#parts.names.replaceChildren(...speakers.map((speaker, number) => this.#field(speaker, number, names)));
  }

  #field(speaker, number, names) {
    const label = element("label", `speaker-${number % COLOURS}`);
    const input = element("input");
    input.value = names.of(speaker);
    input.placeholder = speaker;
    input.maxLength = LONGEST;
    input.spellcheck = false;
    input.autocomplete = "off";
    input.setAttribute("aria-label", `Name of ${speaker}`);
    input.addEventListener("change", () => {
      names.give(speaker, input.value);
      input.value = names.of(speaker);
      this.#onRename(speaker, input.value);
    });
    input.addEventListener("keydown", (event) => event.key === "Enter" && input.blur());
    label.append(input);
    return label;
  }
}
