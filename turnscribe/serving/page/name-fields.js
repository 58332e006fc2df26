// The fields beside the timeline, one for each speaker, in which the speaker can be given another name.

import { element } from "./elements.js";
import { COLOURS, LONGEST_NAME } from "./mended/document.js";

export class NameFields {
  #parts;
  #onRename;

  /** `parts`: the elements names, timeline. `onRename(id, text)`: as the person typed it. */
  constructor(parts, { onRename }) {
    this.#parts = parts;
    this.#onRename = onRename;
  }

  /** `speakers`: of the document. */
  show(speakers) {
    this.#parts.timeline.classList.toggle("nameless", !speakers.length);
    this.#parts.names.replaceChildren(...speakers.map((speaker) => this.#field(speaker)));
  }

  #field({ id, name, colour }) {
    const label = element("label", `speaker-${colour % COLOURS}`);
    const input = element("input");
    input.value = name;
    input.title = name;
    input.placeholder = id;
    input.maxLength = LONGEST_NAME;
    input.spellcheck = false;
    input.autocomplete = "off";
    input.setAttribute("aria-label", `Name of ${id}`);
    input.addEventListener("change", () => this.#onRename(id, input.value));
    input.addEventListener("keydown", (event) => event.key === "Enter" && input.blur());
    label.append(input);
    return label;
  }
}
