// The list of what this browser keeps: title, date, size; open it, delete its audio or all of it.

import { element } from "../elements.js";
import { clock, sizeOf, timeOfDay } from "../times.js";

export class KeptList {
  #parts;
  #shelf;
  #notices;
  #onOpen;
  #painting = 0;

  /** `parts`: the elements kept, keptList. `onOpen(id)`. */
  constructor(parts, { shelf, notices, onOpen }) {
    this.#parts = parts;
    this.#shelf = shelf;
    this.#notices = notices;
    this.#onOpen = onOpen;
    shelf.onChange = () => this.show();
  }

  async show() {
    const painting = ++this.#painting;
    const entries = await this.#shelf.list().catch(() => []);
    if (painting !== this.#painting) return;
    this.#parts.keptList.replaceChildren(...entries.map((entry) => this.#item(entry)));
    this.#parts.kept.hidden = !entries.length;
  }

  #item(entry) {
    const { id, title, created, duration, size } = entry;
    const item = element("li", "listed");
    const open = element("button", "link", title);
    open.type = "button";
    open.dataset.job = id;
    open.addEventListener("click", () => this.#onOpen(id));
    const what = [timeOfDay(new Date(created)), clock(duration), size ? `audio ${sizeOf(size)}` : "no audio"];
    const about = element("div", "about");
    about.append(open, element("span", "hint", what.join(" · ")));
    const buttons = element("div", "row");
    if (size) {
      buttons.append(
        this.#button("Delete audio", title, async () => {
          await this.#shelf.removeRecording(entry);
          this.#notices.say(`The audio of ${title} is deleted from this browser.`);
        }),
      );
    }
    buttons.append(
      this.#button("Delete", title, async () => {
        await this.#shelf.remove(entry);
        this.#notices.say(`${title} is deleted from this browser.`);
        this.#parts.keptList.querySelector("button")?.focus();
      }),
    );
    item.append(about, buttons);
    return item;
  }

  #button(label, title, onClick) {
    const button = element("button", "quiet", label);
    button.type = "button";
    button.setAttribute("aria-label", `${label}: ${title}`);
    button.addEventListener("click", () => onClick().catch((error) => this.#notices.explain(error)));
    return button;
  }
}
