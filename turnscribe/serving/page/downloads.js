// The buttons that save the transcript as a file, one for each format that the server has.

import { element } from "./elements.js";
import { renamed, renamedJson } from "./renaming.js";

// For those who do not know a format by its name. One that has no line here is offered by its name alone.
const PURPOSES = {
  text: "plain text",
  srt: "subtitles",
  vtt: "subtitles for the web",
  tsv: "a table",
  rttm: "who spoke when",
  ass: "subtitles with a colour for each speaker",
  lrc: "lyrics",
  md: "Markdown",
  docx: "a Word document",
  ctm: "words with times and confidences",
  stm: "segments with speakers",
  textgrid: "tiers for Praat",
  eaf: "tiers for ELAN",
  json: "everything",
  verbose_json: "segments and words",
  diarized_json: "segments with speakers",
};
const REVOKE_AFTER = 10_000; // milliseconds, in which every browser has begun to save the file

export class Downloads {
  title = ""; // of the recording; the files are named after it

  #group;
  #jobs;
  #notices;
  #formats = [];
  #content = null;

  /** `group`: the element of the buttons. */
  constructor(group, { jobs, notices }) {
    this.#group = group;
    this.#jobs = jobs;
    this.#notices = notices;
  }

  /** `formats`: the server's, {name, suffix, media_type, needs_speakers, is_binary}. */
  offer(formats) {
    this.#formats = formats;
    this.#list();
  }

  /** `content`: {job, answer, names, speakers}. */
  show(content) {
    this.#content = content;
    this.#list();
  }

  #list() {
    if (!this.#content) return;
    const { speakers } = this.#content;
    const offered = this.#formats.filter((format) => speakers.length || !format.needs_speakers);
    offered.sort((one, other) => isJson(one) - isJson(other)); // what programs read comes after what people read
    for (const button of this.#group.querySelectorAll("button")) button.remove();
    this.#group.append(...offered.map((format) => this.#button(format)));
  }

  #button(format) {
    const label = format.suffix.replaceAll(".", " ").toUpperCase();
    const button = element("button", "", label);
    button.type = "button";
    button.dataset.format = format.suffix;
    const purpose = PURPOSES[format.name];
    button.setAttribute("aria-label", purpose ? `${label}, ${purpose}` : label);
    button.addEventListener("click", () => this.#save(format, label));
    return button;
  }

  async #save(format, label) {
    try {
      this.#notices.error = "";
      const link = element("a");
      link.href = URL.createObjectURL(new Blob([await this.#rendered(format)], { type: format.media_type }));
      link.download = `${(this.title || "transcript").replace(/\.[^.]{1,5}$/, "")}.${format.suffix}`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), REVOKE_AFTER);
      this.#notices.say(`${label} downloaded.`);
    } catch (error) {
      this.#notices.explain(error);
    }
  }

  /** Text with the speakers' new names; a binary format as the server has it. */
  async #rendered(format) {
    const { job, answer, names } = this.#content;
    if (format.name === "json") return renamedJson(answer, names); // the server's has the text alone
    const text = await this.#jobs.rendering(job, format.name, format.is_binary);
    if (format.is_binary) return text;
    return isJson(format) ? renamedJson(JSON.parse(text), names) : renamed(text, format.name, names);
  }
}

function isJson(format) {
  return format.media_type.startsWith("application/json");
}
