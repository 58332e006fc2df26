// The options of a transcription, of which those are shown that the server's models can honour.

import { languageName } from "./languages.js";

export class Options {
  #parts;

  /** `parts`: the elements language, languageField, speakers, speakersField, assisted, assistedField. */
  constructor(parts) {
    this.#parts = parts;
  }

  /** `abilities`: what the server says of its models. */
  show(abilities) {
    const { language, languageField, speakersField, assistedField } = this.#parts;
    assistedField.hidden = !abilities.assistant;
    speakersField.hidden = abilities.diarization === false;
    const codes = abilities.languages ?? [];
    if (abilities.multilingual === false || codes.length < 2) return;
    const entries = codes.map((code) => [code, languageName(code)]);
    entries.sort(([, one], [, other]) => one.localeCompare(other));
    language.append(...entries.map(([code, name]) => new Option(name, code)));
    languageField.hidden = false;
  }

  /** What a live session is told, null for what was left alone. */
  get live() {
    const { language, speakers } = this.#parts;
    return { language: language.value || null, speakers: Number(speakers.value) || null };
  }

  /** The request's parameters, without those that were left alone. */
  get parameters() {
    const { language, speakers, assisted } = this.#parts;
    const all = {
      timestamps: "word",
      language: language.value,
      num_speakers: speakers.value,
      assisted: assisted.checked ? "true" : "",
    };
    return Object.entries(all).filter(([, value]) => value);
  }
}
