// The view of a finished transcript: its title and facts above the player, the downloads and the text.

import { conversation } from "./conversation.js";
import { element } from "./elements.js";
import { languageName } from "./languages.js";
import { SpeakerNames } from "./names.js";
import { clock, timeOfDay } from "./times.js";

export class Result {
  #parts;
  #frame;
  #notices;
  #store;
  #downloads;
  #nameFields;
  #panel;

  /** `parts`: the elements resultTitle, facts, warnings, expires. */
  constructor(parts, { frame, notices, store, downloads, nameFields, panel }) {
    this.#parts = parts;
    this.#frame = frame;
    this.#notices = notices;
    this.#store = store;
    this.#downloads = downloads;
    this.#nameFields = nameFields;
    this.#panel = panel;
  }

  /** The recording's name. */
  set title(title) {
    this.#parts.resultTitle.textContent = title;
    this.#downloads.title = title;
  }

  /** `expiresAt`: the server's moment, as a number of seconds or a date. Resolves when the whole text is there. */
  async show(job, answer, { title, expiresAt }) {
    const { resultTitle, facts, warnings, expires } = this.#parts;
    const talk = conversation(answer);
    const names = new SpeakerNames(this.#store, job);
    this.title = title;
    this.#frame.title = title;
    facts.textContent = known(answer, talk).join(" · ");
    const sentences = answer.warnings ?? [];
    warnings.replaceChildren(...sentences.map((sentence) => element("li", "", sentence)));
    warnings.hidden = !sentences.length;
    expires.textContent = forgets(expiresAt);
    this.#nameFields.show(talk.speakers, names);
    this.#downloads.show({ job, answer, names, speakers: talk.speakers });
    this.#frame.view = "result";
    const built = this.#panel.show(answer, talk, names);
    resultTitle.focus({ preventScroll: true });
    scrollTo(0, 0);
    this.#notices.say(`The transcript is ready: ${known(answer, talk).join(", ")}.`);
    await built;
  }
}

function known(answer, { duration, speakers }) {
  const found = [clock(duration)];
  if (answer.language) found.push(languageName(answer.language));
  if (speakers.length) found.push(speakers.length === 1 ? "1 speaker" : `${speakers.length} speakers`);
  const took = answer.timings?.total;
  if (took) found.push(`transcribed in ${took < 10 ? took.toFixed(1) : Math.round(took)} s`);
  return found;
}

function forgets(moment) {
  const time = timeOfDay(typeof moment === "number" ? new Date(moment * 1000) : new Date(moment ?? Number.NaN));
  return time && `The server forgets this transcript at ${time}.`;
}
