// The options of a transcription, of which those are shown that the server's models can honour.

import { languageName } from "./languages.js";

export class Options {
  #parts;

  /**
   * `parts`: the elements language, speakers, assisted, task, prompt, keywords, channels, minSpeakers, maxSpeakers;
   * languageField, speakersField, assistedField, taskField, minField, maxField, which may be hidden.
   */
  constructor(parts) {
    this.#parts = parts;
  }

  /** `abilities`: what the server says of its models. */
  show(abilities) {
    const { language, languageField, speakersField, assistedField, taskField, minField, maxField } = this.#parts;
    assistedField.hidden = !abilities.assistant;
    for (const field of [speakersField, minField, maxField]) field.hidden = abilities.diarization === false;
    const codes = abilities.languages ?? [];
    taskField.hidden = abilities.multilingual === false;
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
    const { language, speakers, assisted, task, prompt, keywords, channels, minSpeakers, maxSpeakers } = this.#parts;
    const all = {
      timestamps: "word",
      language: language.value,
      num_speakers: speakers.value,
      min_speakers: minSpeakers.value,
      max_speakers: maxSpeakers.value,
      assisted: assisted.checked ? "true" : "",
      task: task.value,
      prompt: prompt.value.trim(),
      keywords: listed(keywords.value),
      channels: channels.value,
    };
    return Object.entries(all).filter(([, value]) => value);
  }
}

/** One a line, or between commas; as the server reads a list in one field. */
function listed(text) {
  return text
    .split(/[,\n]/)
    .map((each) => each.trim())
    .filter(Boolean)
    .join(",");
}
