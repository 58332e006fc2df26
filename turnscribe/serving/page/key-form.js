// The form that asks for an API key.

export class KeyForm {
  #form;
  #key;
  #reason;

  constructor({ keyForm, key, keyReason }) {
    this.#form = keyForm;
    this.#key = key;
    this.#reason = keyReason;
  }

  /** Resolves to the key that the person types. */
  ask(reason) {
    return new Promise((resolve) => {
      this.#reason.textContent = reason;
      this.#form.hidden = false;
      this.#key.value = "";
      this.#key.focus();
      this.#form.onsubmit = (event) => {
        event.preventDefault();
        this.#form.hidden = true;
        resolve(this.#key.value.trim());
      };
    });
  }
}
