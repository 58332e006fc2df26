// The audio, and the place in it: a place there is even while the recording is absent. Knows no words.

export class Player {
  #audio;
  #events;
  #url = null;
  #place = 0; // seconds; the audio's own once it is there
  #ready = false;

  /** `events`: onTime(seconds), onState(playing), onLoaded(seconds), onProblem(sentence). */
  constructor(audio, events) {
    this.#audio = audio;
    this.#events = events;
    audio.addEventListener("loadedmetadata", () => this.#measure());
    audio.addEventListener("error", () => this.#url && this.#fail());
    audio.addEventListener("play", () => this.#frame());
    for (const name of ["play", "pause", "ended"]) {
      audio.addEventListener(name, () => events.onState(!audio.paused && !audio.ended));
    }
    for (const name of ["timeupdate", "seeked"]) audio.addEventListener(name, () => this.#tell());
  }

  get present() {
    return this.#url !== null;
  }

  get playing() {
    return this.present && !this.#audio.paused;
  }

  get time() {
    return this.#ready ? this.#audio.currentTime : this.#place;
  }

  load(file) {
    this.clear();
    this.#url = URL.createObjectURL(file);
    this.#audio.src = this.#url;
  }

  clear() {
    if (!this.#url) return;
    this.#audio.pause();
    URL.revokeObjectURL(this.#url);
    this.#url = null;
    this.#ready = false;
    this.#audio.removeAttribute("src");
    this.#audio.load();
  }

  seek(seconds) {
    this.#place = Math.max(0, seconds);
    if (this.#ready) this.#audio.currentTime = Math.min(this.#place, this.#audio.duration);
    this.#events.onTime(this.#place);
  }

  /** False where there is nothing to play. */
  play() {
    if (!this.present) return false;
    this.#audio.play().catch(() => {}); // an unreadable file has its own event, a denied start shows as paused
    return true;
  }

  toggle() {
    if (!this.playing) return this.play();
    this.#audio.pause();
    return true;
  }

  speed(factor) {
    this.#audio.defaultPlaybackRate = factor;
    this.#audio.playbackRate = factor;
  }

  // A MediaRecorder's webm does not say how long it is: going far beyond its end makes the browser find out.
  #measure() {
    const audio = this.#audio;
    if (Number.isFinite(audio.duration)) return this.#start();
    const found = () => {
      if (!Number.isFinite(audio.duration)) return;
      audio.removeEventListener("durationchange", found);
      this.#start();
    };
    audio.addEventListener("durationchange", found);
    audio.currentTime = 1e7;
  }

  #start() {
    this.#ready = true;
    this.#audio.currentTime = Math.min(this.#place, this.#audio.duration);
    this.#events.onLoaded(this.#audio.duration);
  }

  #fail() {
    this.clear();
    this.#events.onProblem("This browser cannot play that file. The transcript is complete all the same.");
  }

  #frame() {
    this.#tell();
    if (this.playing) requestAnimationFrame(() => this.#frame());
  }

  #tell() {
    if (!this.#ready) return;
    this.#place = this.#audio.currentTime;
    this.#events.onTime(this.#place);
  }
}
