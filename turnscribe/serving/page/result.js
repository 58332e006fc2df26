// The view of a finished transcript: its title and facts above the player, and the warnings.

import { element } from "./elements.js";
import { languageName } from "./languages.js";
import { clock, timeOfDay } from "./times.js";

export class Result {
  #parts;
  #frame;
  #notices;

  /** `parts`: the elements resultTitle, facts, warnings, expires, remove, doubtsField. */
  constructor(parts, { frame, notices }) {
    this.#parts = parts;
    this.#frame = frame;
    this.#notices = notices;
  }

  /** The recording's name. */
  set title(title) {
    this.#parts.resultTitle.textContent = title;
    this.#frame.title = title;
  }

  /** `entry`: of the shelf, with its document. */
  show(entry, doc) {
    const { resultTitle, warnings, expires, remove, doubtsField } = this.#parts;
    this.title = entry.title;
    this.showFacts(entry, doc);
    warnings.replaceChildren(...entry.warnings.map((sentence) => element("li", "", sentence)));
    warnings.hidden = !entry.warnings.length;
    const moment = momentOf(entry.expiresAt);
    const time = timeOfDay(moment);
    const gone = moment < Date.now();
    expires.textContent = time && (gone ? "Kept in this browser alone." : `The server forgets this transcript at ${time}.`);
    remove.hidden = gone;
    doubtsField.hidden = !doc.paragraphs.some(({ words }) => words.some(({ probability }) => probability !== null));
    this.#frame.view = "result";
    resultTitle.focus({ preventScroll: true });
    scrollTo(0, 0);
    this.#notices.say(`The transcript is ready: ${known(entry, doc).join(", ")}.`);
  }

  showFacts(entry, doc) {
    this.#parts.facts.textContent = known(entry, doc).join(" · ");
  }
}

function known({ took }, { duration, language, speakers }) {
  const found = [clock(duration)];
  if (language) found.push(languageName(language));
  if (speakers.length) found.push(speakers.length === 1 ? "1 speaker" : `${speakers.length} speakers`);
  if (took) found.push(`transcribed in ${took < 10 ? took.toFixed(1) : Math.round(took)} s`);
  return found;
}

/** `moment`: the server's, as a number of seconds or a date. */
function momentOf(moment) {
  return typeof moment === "number" ? new Date(moment * 1000) : new Date(moment ?? Number.NaN);
}
