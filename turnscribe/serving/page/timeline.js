// Who speaks when, a lane for each speaker, drawn once; a line moves over it. A slider for the keyboard.

import { COLOURS } from "./mended/document.js";
import { clock, spokenTime } from "./times.js";

const LANE = 30; // CSS pixels, as .names label in result.css
const RULER = 20;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200]; // seconds between two marks
const STEP_WIDTH = 72; // CSS pixels between two marks, at least

export class Timeline {
  #parts;
  #talk = null;
  #time = 0;
  #speaker = () => "";

  /** `parts`: the elements lanes, canvas, head, hover. `onSeek(seconds)`, `onToggle()`. */
  constructor(parts, { onSeek, onToggle }) {
    this.#parts = parts;
    const { lanes } = parts;
    let dragging = false;
    lanes.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      dragging = true;
      lanes.setPointerCapture(event.pointerId);
      onSeek(this.#timeAt(event));
    });
    lanes.addEventListener("pointermove", (event) => {
      this.#hover(event);
      if (dragging) onSeek(this.#timeAt(event));
    });
    for (const name of ["pointerup", "pointercancel"]) lanes.addEventListener(name, () => (dragging = false));
    lanes.addEventListener("pointerleave", () => (parts.hover.hidden = true));
    lanes.addEventListener("keydown", (event) => {
      const to = this.#keyed(event.key);
      if (event.altKey || event.ctrlKey || event.metaKey || (to === null && event.key !== " ")) return;
      event.preventDefault();
      if (to === null) onToggle();
      else onSeek(Math.min(Math.max(0, to), this.#talk.duration));
    });
    new ResizeObserver(() => this.#draw()).observe(lanes);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
  }

  /** `talk`: {turns, speakers, duration}. `speaker(seconds)`: who speaks then, by the name shown, or "". */
  show(talk, speaker) {
    this.#speaker = speaker;
    this.update(talk);
    this.move(0);
  }

  /** The same talk after an edit. */
  update(talk) {
    this.#talk = talk;
    this.#parts.lanes.setAttribute("aria-valuemax", Math.round(talk.duration));
    this.#draw();
  }

  move(seconds) {
    if (!this.#talk) return;
    this.#time = seconds;
    const { lanes, head } = this.#parts;
    head.style.transform = `translateX(${this.#x(seconds)}px)`;
    const whole = Math.round(seconds);
    if (lanes.getAttribute("aria-valuenow") === String(whole) && lanes.hasAttribute("aria-valuetext")) return;
    const who = this.#speaker(seconds);
    lanes.setAttribute("aria-valuenow", whole);
    lanes.setAttribute("aria-valuetext", spokenTime(whole) + (who && `, ${who}`));
  }

  #x(seconds) {
    const { duration } = this.#talk;
    return duration ? (Math.min(seconds, duration) / duration) * this.#parts.lanes.clientWidth : 0;
  }

  #timeAt(event) {
    const box = this.#parts.lanes.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    return share * (this.#talk?.duration ?? 0);
  }

  #keyed(key) {
    const step = { ArrowRight: 5, ArrowUp: 5, ArrowLeft: -5, ArrowDown: -5, PageUp: 60, PageDown: -60 }[key];
    if (step) return this.#time + step;
    return { Home: 0, End: this.#talk?.duration ?? 0 }[key] ?? null;
  }

  #hover(event) {
    const { hover, lanes } = this.#parts;
    if (!this.#talk || event.pointerType === "touch") return;
    const seconds = this.#timeAt(event);
    const who = this.#speaker(seconds);
    hover.textContent = clock(seconds) + (who && ` ${who}`);
    hover.hidden = false;
    const left = Math.min(this.#x(seconds) + 8, lanes.clientWidth - hover.offsetWidth - 2);
    hover.style.transform = `translateX(${Math.max(0, left)}px)`;
  }

  #draw() {
    const { canvas, lanes } = this.#parts;
    const width = lanes.clientWidth;
    if (!this.#talk || !width) return;
    const { turns, speakers, duration } = this.#talk;
    const rows = Math.max(1, speakers.length);
    const height = rows * LANE + RULER;
    const dense = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * dense);
    canvas.height = Math.round(height * dense);
    canvas.style.height = `${height}px`;
    const style = getComputedStyle(lanes);
    const colour = (name) => style.getPropertyValue(name).trim();
    const pen = canvas.getContext("2d");
    pen.scale(dense, dense);

    pen.fillStyle = colour("--lane");
    for (let row = 0; row < rows; row++) pen.fillRect(0, row * LANE + LANE / 2 - 0.5, width, 1);

    const lane = new Map(speakers.map(({ id, colour }, row) => [id, { row, colour }]));
    for (const turn of turns) {
      const { row, colour: number } = lane.get(turn.speaker) ?? { row: 0, colour: null };
      const left = this.#x(turn.start);
      const wide = Math.max(1.5, this.#x(turn.end) - left - 0.5);
      pen.fillStyle = colour(number === null ? "--accent" : `--speaker-${number % COLOURS}`);
      pen.beginPath();
      pen.roundRect(left, row * LANE + 6, wide, LANE - 12, Math.min(4, wide / 2));
      pen.fill();
    }

    const step = STEPS.find((each) => this.#x(each) >= STEP_WIDTH) ?? 7200;
    pen.font = `11px ${style.fontFamily}`;
    pen.textBaseline = "middle";
    for (let mark = 0; mark < duration && duration; mark += step) {
      const x = this.#x(mark);
      pen.fillStyle = colour("--lane");
      pen.fillRect(x, rows * LANE + 2, 1, 5);
      const label = clock(mark);
      if (x + 5 + pen.measureText(label).width > width) break;
      pen.fillStyle = colour("--muted");
      pen.fillText(label, x + 5, rows * LANE + 11);
    }
    this.move(this.#time);
  }
}
