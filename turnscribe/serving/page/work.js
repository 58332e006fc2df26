// The view while the server works: the phase, and how far it is.

// As the server names them, in words.
const STAGES = {
  decode: "Reading the file",
  speech: "Finding speech",
  asr: "Transcribing",
  diarization: "Telling speakers apart",
};

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

  /** `share`: of this phase, 0 to 1; null where nobody knows. */
  show(phase, share) {
    const { bar, phase: line } = this.#parts;
    if (share === null) bar.removeAttribute("value");
    else bar.value = share;
    const percent = share === null ? "" : `${Math.floor(share * 100)} %`;
    line.textContent = percent ? `${phase}, ${percent}` : `${phase} …`;
    this.#frame.title = percent;
    // Not every percent aloud.
    const sentence = share === null ? phase : `${phase}, ${Math.floor(share * 4) * 25} percent`;
    if (sentence !== this.#announced) this.#notices.say(sentence);
    this.#announced = sentence;
  }

  /** `state`: a job's, as the server says it. */
  showState({ status, position, progress, stage }) {
    if (status === "queued") this.show(position ? `Waiting, ${position} ahead in line` : "Waiting, next in line", null);
    else if (status === "running") this.show(STAGES[stage] || "Transcribing", progress || null);
  }
}
