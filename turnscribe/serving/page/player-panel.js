// The player with what moves along: the audio, the timeline, the text, and the controls of all three. There is a
// place in the recording even while the recording itself is absent.

import { Player } from "./player.js";
import { clock } from "./times.js";
import { Timeline } from "./timeline.js";
import { TranscriptView } from "./transcript.js";

const STEP = 5; // seconds that the buttons go back and forward
const ABSENT = "The recording is no longer in this page. Choose the file again to listen while you read.";

export class PlayerPanel {
  #parts;
  #notices;
  #player;
  #timeline;
  #transcript;
  #answer = null;
  #problem = null; // why there is no audio, where it is not simply absent

  /** `parts`: elements. `onRecording(file)`: the person chose the recording again. */
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
    const onPlay = (seconds) => this.#playFrom(seconds);
    this.#transcript = new TranscriptView(parts.transcript, { onGo: go, onPlay, onToggle: toggle });

    parts.play.addEventListener("click", toggle);
    parts.back.addEventListener("click", () => go(this.#player.time - STEP));
    parts.forward.addEventListener("click", () => go(this.#player.time + STEP));
    parts.speed.addEventListener("change", () => this.#player.speed(Number(parts.speed.value)));
    parts.again.addEventListener("change", () => {
      const [file] = parts.again.files;
      if (!file) return;
      notices.error = "";
      onRecording(file);
      this.load(file);
      parts.again.value = "";
    });
    new ResizeObserver(([{ target }]) => {
      document.documentElement.style.setProperty("--player-height", `${target.offsetHeight}px`);
    }).observe(parts.player);
  }

  load(file) {
    this.#problem = null;
    this.#player.load(file);
  }

  /** Forgets the recording and the transcript. */
  clear() {
    this.#player.clear();
    this.#answer = null;
  }

  /** Resolves when the whole text is on the page. */
  async show(answer, talk, names) {
    this.#answer = answer;
    this.#parts.length.textContent = clock(talk.duration);
    if (this.#player.present) this.#parts.absent.hidden = true;
    else this.#showAbsent();
    const built = this.#transcript.show(talk, names, answer.language);
    this.#timeline.show(talk, (seconds) => this.#transcript.speakerAt(seconds));
    this.#showTime(this.#player.time);
    await built;
  }

  /** The names have changed. */
  rename() {
    this.#transcript.rename();
    this.#showTime(this.#player.time);
  }

  #go(seconds) {
    this.#transcript.attend();
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
    if (!this.#answer) return;
    const { now, speaking, follow } = this.#parts;
    const time = clock(seconds);
    if (now.textContent !== time) now.textContent = time;
    this.#timeline.move(seconds);
    this.#transcript.move(seconds, follow.checked && this.#player.playing);
    const speaker = this.#transcript.speakerAt(seconds);
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
    const expected = this.#answer?.duration;
    if (expected && Math.abs(expected - seconds) > 2 + expected / 50) {
      this.#notices.error =
        `This file lasts ${clock(seconds)}, the transcript ${clock(expected)}: it may be another recording.`;
    }
  }
}
