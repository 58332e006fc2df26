// The buttons that save the transcript as a file, one for each format that the server has, and the one that prints it.
// The server renders what it is sent: the transcript as it is mended now.

import { element } from "./elements.js";

// For those who do not know a format by its name. One that has no line here is offered by its name alone.
const PURPOSES = {
  text: "plain text",
  md: "Markdown",
  docx: "Word and other word processors",
  srt: "subtitles",
  vtt: "subtitles for the web",
  ass: "subtitles with a colour for each speaker",
  lrc: "lyrics",
  tsv: "a table",
  rttm: "who spoke when",
  ctm: "words with times and confidences",
  stm: "segments with speakers",
  textgrid: "tiers for Praat",
  eaf: "tiers for ELAN",
  json: "everything",
  verbose_json: "segments and words",
  diarized_json: "segments with speakers",
};
const IN_A_ROW = 5; // more than these are in a menu
const REVOKE_AFTER = 10_000; // milliseconds, in which every browser has begun to save the file

export class Downloads {
  title = ""; // of the recording; the files are named after it

  #parts;
  #server;
  #notices;
  #formats = [];
  #content = null;

  /** `parts`: the elements downloads, downloadMenu, downloadButtons. */
  constructor(parts, { server, notices }) {
    this.#parts = parts;
    this.#server = server;
    this.#notices = notices;
    const { downloadMenu: menu } = parts;
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.#menu) return;
      menu.open = false;
      menu.querySelector("summary").focus();
    });
    addEventListener("pointerdown", ({ target }) => {
      if (this.#menu && !menu.contains(target)) menu.open = false;
    });
  }

  /** `formats`: the server's, {name, suffix, media_type, needs_speakers, is_binary}. */
  offer(formats) {
    this.#formats = formats;
    this.#list();
  }

  /** `content`: {transcript(), speakers}; the first gives the answer as it is now. */
  show(content) {
    this.#content = content;
    this.#list();
  }

  get #menu() {
    return this.#parts.downloadMenu.classList.contains("menu");
  }

  #list() {
    if (!this.#content) return;
    const { speakers } = this.#content;
    const offered = this.#formats.filter((format) => speakers.length || !format.needs_speakers);
    offered.sort((one, other) => isJson(one) - isJson(other)); // what programs read comes after what people read
    const print = this.#button("PDF", "print, or save as PDF", "print", () => window.print());
    const { downloadMenu, downloadButtons } = this.#parts;
    const many = offered.length > IN_A_ROW;
    if (many !== this.#menu) downloadMenu.open = !many;
    downloadMenu.classList.toggle("menu", many);
    downloadButtons.replaceChildren(...offered.map((format) => this.#ofFormat(format)), print);
  }

  #ofFormat(format) {
    const label = format.suffix.replaceAll(".", " ").toUpperCase();
    const purpose = PURPOSES[format.name.toLowerCase()];
    return this.#button(label, purpose, format.suffix, () => this.#save(format, label));
  }

  #button(label, purpose, suffix, onClick) {
    const button = element("button", "", label);
    button.type = "button";
    button.dataset.format = suffix;
    if (purpose) button.append(" ", element("small", "purpose", purpose));
    button.addEventListener("click", () => {
      if (this.#menu) this.#parts.downloadMenu.open = false;
      onClick();
    });
    return button;
  }

  async #save(format, label) {
    try {
      this.#notices.error = "";
      const link = element("a");
      const name = (this.title || "transcript").replace(/\.[^.]{1,5}$/, "");
      link.href = URL.createObjectURL(await this.#file(format, name));
      link.download = `${name}.${format.suffix}`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), REVOKE_AFTER);
      this.#notices.say(`${label} downloaded.`);
    } catch (error) {
      this.#notices.explain(error);
    }
  }

  async #file(format, name) {
    const transcript = this.#content.transcript();
    if (format.name === "json") {
      return new Blob([`${JSON.stringify(transcript, null, 2)}\n`], { type: format.media_type }); // not the text alone
    }
    const order = { transcript, response_format: format.name, filename: name.slice(0, 200) };
    const response = await this.#server.post("v1/render", order);
    if (!isJson(format)) return response.blob();
    return new Blob([`${JSON.stringify(await response.json(), null, 2)}\n`], { type: format.media_type });
  }
}

function isJson(format) {
  return format.media_type.startsWith("application/json");
}
