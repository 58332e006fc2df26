// The form at the start: the files that are chosen or dropped, or the one that is recorded. One stays here, for the
// player.

import { sizeOf } from "./times.js";

export class StartForm {
  #parts;
  #notices;
  #files = [];

  /** `parts`: the elements form, file, drop, chosen, send, playIn. While `recordButton.busy` nothing is dropped. */
  constructor(parts, { notices, recordButton, onSend }) {
    this.#parts = parts;
    this.#notices = notices;
    const { form, file, drop } = parts;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#files.length) onSend(this.#files);
    });
    file.addEventListener("change", () => file.files.length && this.choose([...file.files]));
    for (const name of ["dragenter", "dragover"]) {
      drop.addEventListener(name, (event) => {
        event.preventDefault();
        drop.classList.add("over");
      });
    }
    for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      const { files } = event.dataTransfer;
      if (files.length && !recordButton.busy) this.choose([...files]);
    });
  }

  /** The only one; null where there is none, or several. */
  get file() {
    return this.#files.length === 1 ? this.#files[0] : null;
  }

  set files(files) {
    const { file: input, drop, chosen, send, playIn } = this.#parts;
    this.#files = files;
    if (!files.length) input.value = ""; // so that the same file can be chosen again
    send.disabled = !files.length;
    playIn.disabled = files.length !== 1;
    drop.classList.toggle("full", files.length > 0);
    chosen.textContent = described(files) || "Drop audio or video files here, or";
  }

  choose(files) {
    this.files = files;
    this.#notices.say(files.length === 1 ? `${files[0].name} is chosen.` : `${files.length} files are chosen.`);
  }

  /** Until the recording is chosen, there is nothing to send. */
  showRecording() {
    this.#parts.send.disabled = this.#parts.playIn.disabled = true;
    this.#parts.chosen.textContent = "Recording";
  }

  focus() {
    (this.#files.length ? this.#parts.send : this.#parts.file).focus();
  }
}

function described(files) {
  const size = sizeOf(files.reduce((sum, file) => sum + file.size, 0));
  if (files.length < 2) return files.length ? `${files[0].name} (${size})` : "";
  return `${files.length} files (${size}): ${files.map(({ name }) => name).join(", ")}`;
}
