// The view while the server works: the phase, and how far it is.

import { described } from "./stages.js";

export class Work {
  #parts;
  #frame;
  #notices;
  #announced = "";

  /** `parts`: the elements workTitle, workName, bar, phase. */
  constructor(parts, { frame, notices }) {
    this.#parts = parts;
    this.#frame = frame;
    this.#notices = notices;
  }

  /** `name`: the file's, "" where it is not known. */
  open(name) {
    this.#frame.view = "work";
    this.#parts.workName.textContent = name;
    this.#parts.workTitle.focus();
    this.#announced = "";
  }

  /** `share`: of all the time it takes, 0 to 1, and the seconds that are left; null where nobody knows. */
  show(phase, share, remaining = null) {
    const { bar, phase: line } = this.#parts;
    if (share === null) bar.removeAttribute("value");
    else bar.value = share;
    const percent = share === null ? "" : `${Math.floor(share * 100)} %`;
    const left = remaining === null ? "" : `, about ${about(remaining)} left`;
    line.textContent = percent ? `${phase}, ${percent}${left}` : `${phase} …`;
    this.#frame.title = percent;
    // Not every percent aloud.
    const sentence = share === null ? phase : `${phase}, ${Math.floor(share * 4) * 25} percent`;
    if (sentence !== this.#announced) this.#notices.say(sentence);
    this.#announced = sentence;
  }

  /** `state`: a job's, as the server says it. */
  showState(state) {
    if (!["queued", "running"].includes(state.status)) return;
    const { phase, share, remaining } = described(state);
    this.show(phase, share, remaining);
  }
}

/** A time that is left, in words, as exactly as people want to know: "45 s", "7 min", "1 h 5 min". */
function about(seconds) {
  if (seconds < 10) return `${Math.max(Math.ceil(seconds), 1)} s`;
  if (seconds < 55) return `${5 * Math.ceil(seconds / 5)} s`;
  const minutes = seconds < 600 ? Math.ceil(seconds / 60) : Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
