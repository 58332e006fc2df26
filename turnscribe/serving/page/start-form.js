// The form at the start: the file that is chosen, dropped or recorded. It stays here, for the player.

export class StartForm {
  #parts;
  #notices;
  #file = null;

  /** `parts`: the elements form, file, drop, chosen, send, playIn. While `recordButton.busy` nothing is dropped. */
  constructor(parts, { notices, recordButton, onSend }) {
    this.#parts = parts;
    this.#notices = notices;
    const { form, file, drop } = parts;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#file) onSend(this.#file);
    });
    file.addEventListener("change", () => file.files[0] && this.choose(file.files[0]));
    for (const name of ["dragenter", "dragover"]) {
      drop.addEventListener(name, (event) => {
        event.preventDefault();
        drop.classList.add("over");
      });
    }
    for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      if (event.dataTransfer.files[0] && !recordButton.busy) this.choose(event.dataTransfer.files[0]);
    });
  }

  get file() {
    return this.#file;
  }

  /** null where there is none, or none any more. */
  set file(file) {
    const { file: input, drop, chosen, send, playIn } = this.#parts;
    this.#file = file;
    if (!file) input.value = ""; // so that the same file can be chosen again
    send.disabled = playIn.disabled = !file;
    drop.classList.toggle("full", Boolean(file));
    chosen.textContent = file ? `${file.name} (${size(file.size)})` : "Drop an audio or video file here, or";
  }

  choose(file) {
    this.file = file;
    this.#notices.say(`${file.name} is chosen.`);
  }

  /** Until the recording is chosen, there is nothing to send. */
  showRecording() {
    this.#parts.send.disabled = this.#parts.playIn.disabled = true;
    this.#parts.chosen.textContent = "Recording";
  }

  focus() {
    (this.#file ? this.#parts.send : this.#parts.file).focus();
  }
}

function size(bytes) {
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1e3))} kB`;
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}
