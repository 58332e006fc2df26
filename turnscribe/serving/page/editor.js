// A paragraph's text as a field, in the place where it stands. One at a time.

import { element } from "./elements.js";

export class Editor {
  #field = null;
  #close = () => {};

  get busy() {
    return this.#field !== null;
  }

  /** In the place of the element `said`. `onDone(text)`: null where the person gave up. */
  open(said, text, { label, onDone }) {
    this.close();
    const field = element("textarea", "said editor");
    field.value = text;
    field.dir = "auto";
    field.setAttribute("aria-label", label);
    field.setAttribute("aria-describedby", "editor-keys");
    const finish = (result) => {
      if (this.#field !== field) return;
      this.#field = null;
      this.#close = () => {};
      field.replaceWith(said);
      onDone(result);
    };
    this.#close = () => finish(null);
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") finish(null);
      else if (event.key === "Enter" && !event.isComposing) finish(field.value);
      else return;
      event.preventDefault();
    });
    field.addEventListener("blur", () => finish(field.value));
    field.addEventListener("input", () => fit(field));
    said.replaceWith(field);
    this.#field = field;
    fit(field);
    field.focus();
  }

  /** What was typed is given up. */
  close() {
    this.#close();
  }
}

function fit(field) {
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + 2}px`;
}
