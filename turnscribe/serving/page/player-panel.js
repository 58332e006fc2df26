// The player with what moves along: the audio, the timeline, the text, and the controls of all three. There is a
// place in the recording even while the recording itself is absent.

import { Player } from "./player.js";
import { clock } from "./times.js";
import { Timeline } from "./timeline.js";

const STEP = 5; // seconds that the buttons go back and forward
const ABSENT = "The recording is no longer in this page. Choose the file again to listen while you read.";

export class PlayerPanel {
  #parts;
  #notices;
  #player;
  #timeline;
  #talk = null;
  #chosen = null; // the recording that the person chose again
  #onRecording;
  #problem = null; // why there is no audio, where it is not simply absent

  transcript = null; // the view of the text

  /** `parts`: elements. `onRecording(file)`: the person chose the recording again, and it is as long. */
  constructor(parts, { notices, onRecording }) {
    this.#parts = parts;
    this.#notices = notices;
    this.#player = new Player(parts.audio, {
      onTime: (seconds) => this.#showTime(seconds),
      onState: (playing) => this.#showPlaying(playing),
      onLoaded: (seconds) => this.#welcome(seconds),
      onProblem: (sentence) => {
        this.#problem = sentence;
        this.#showAbsent();
      },
    });
    const [go, toggle] = [(seconds) => this.#go(seconds), () => this.#toggle()];
    this.#timeline = new Timeline(parts, { onSeek: go, onToggle: toggle });
    this.#onRecording = onRecording;

    parts.play.addEventListener("click", toggle);
    parts.back.addEventListener("click", () => go(this.#player.time - STEP));
    parts.forward.addEventListener("click", () => go(this.#player.time + STEP));
    parts.speed.addEventListener("change", () => this.#player.speed(Number(parts.speed.value)));
    parts.again.addEventListener("change", () => {
      const [file] = parts.again.files;
      if (!file) return;
      notices.error = "";
      this.load(file);
      this.#chosen = file;
      parts.again.value = "";
    });
    new ResizeObserver(([{ target }]) => {
      document.documentElement.style.setProperty("--player-height", `${target.offsetHeight}px`);
    }).observe(parts.player);
  }

  /** What the text asks for. */
  get events() {
    return {
      onGo: (seconds) => this.#go(seconds),
      onPlay: (seconds) => this.#playFrom(seconds),
      onToggle: () => this.#toggle(),
    };
  }

  get present() {
    return this.#player.present;
  }

  load(file) {
    this.#problem = this.#chosen = null;
    this.#player.load(file);
  }

  /** Forgets the recording and the transcript. */
  clear() {
    this.#player.clear();
    this.#talk = null;
  }

  /** Resolves when the whole text is on the page. */
  async show(talk, doc) {
    this.#talk = talk;
    this.#parts.length.textContent = clock(talk.duration);
    if (this.#player.present) this.#parts.absent.hidden = true;
    else this.#showAbsent();
    const built = this.transcript.show(doc);
    this.#timeline.show(talk, (seconds) => this.transcript.speakerAt(seconds));
    this.#showTime(this.#player.time);
    await built;
  }

  /** After an edit. */
  update(talk, doc) {
    this.#talk = talk;
    this.transcript.update(doc);
    this.#timeline.update(talk);
    this.#showTime(this.#player.time);
  }

  #go(seconds) {
    this.transcript.attend();
    this.#player.seek(seconds);
  }

  #playFrom(seconds) {
    this.#go(seconds);
    if (!this.#player.play()) this.#sayAbsent();
  }

  #toggle() {
    if (!this.#player.toggle()) this.#sayAbsent();
  }

  #sayAbsent() {
    this.#notices.say("The recording is not in this page: choose it above to listen.");
  }

  #showTime(seconds) {
    if (!this.#talk) return;
    const { now, speaking, follow } = this.#parts;
    const time = clock(seconds);
    if (now.textContent !== time) now.textContent = time;
    this.#timeline.move(seconds);
    this.transcript.move(seconds, follow.checked && this.#player.playing);
    const speaker = this.transcript.speakerAt(seconds);
    if (speaking.textContent !== speaker) speaking.textContent = speaker;
  }

  #showPlaying(playing) {
    this.#parts.play.classList.toggle("playing", playing);
    this.#parts.play.setAttribute("aria-label", playing ? "Pause" : "Play");
  }

  #showAbsent() {
    this.#parts.absentText.textContent = this.#problem ?? ABSENT;
    this.#parts.absent.hidden = false;
    this.#enable(false);
    this.#showPlaying(false);
  }

  #enable(present) {
    for (const button of ["play", "back", "forward"]) this.#parts[button].disabled = !present;
  }

  /** A file chosen after a reload may be another one. */
  #welcome(seconds) {
    this.#enable(true);
    this.#parts.absent.hidden = true;
    const expected = this.#talk?.duration;
    if (expected && Math.abs(expected - seconds) > 2 + expected / 50) {
      this.#notices.error =
        `This file lasts ${clock(seconds)}, the transcript ${clock(expected)}: it may be another recording.`;
    } else if (this.#chosen) {
      this.#onRecording(this.#chosen);
    }
  }
}
