// The list of the transcriptions under way: state and progress of each, and a button that ends it.

import { element } from "./elements.js";
import { sizeOf } from "./times.js";

export class QueueList {
  #parts;
  #queue;
  #notices;
  #items = new Map(); // key -> the elements of an order

  /** `parts`: the elements underWay, underWayList. */
  constructor(parts, { queue, notices }) {
    this.#parts = parts;
    this.#queue = queue;
    this.#notices = notices;
    queue.onChange = () => this.show();
  }

  show() {
    const { orders } = this.#queue;
    const { underWay, underWayList } = this.#parts;
    const keys = new Set(orders.map(({ key }) => key));
    for (const [key, { item }] of this.#items) {
      if (keys.has(key)) continue;
      item.remove();
      this.#items.delete(key);
    }
    for (const order of orders) {
      if (!this.#items.has(order.key)) {
        this.#items.set(order.key, this.#made(order));
        underWayList.append(this.#items.get(order.key).item);
      }
      this.#paint(order, this.#items.get(order.key));
    }
    underWay.hidden = !orders.length;
  }

  #made(order) {
    const item = element("li", "listed");
    const [state, bar] = [element("span", "hint"), element("progress")];
    bar.max = 1;
    bar.setAttribute("aria-label", `Progress of ${order.name}`);
    const about = element("div", "about");
    about.append(element("span", "listed-name", order.name || "Live"), state, bar);
    const stop = element("button", "quiet", "Cancel");
    stop.type = "button";
    stop.addEventListener("click", () => {
      this.#queue.cancel(order).catch((error) => this.#notices.explain(error));
      this.#notices.say(`${order.name} is cancelled.`);
    });
    item.append(about, stop);
    return { item, state, bar, stop };
  }

  #paint({ name, size, phase, share, state: what, error }, { state, bar, stop }) {
    const failed = what === "failed";
    const percent = typeof share === "number" ? `, ${Math.floor(share * 100)} %` : "";
    state.textContent = failed ? error : `${phase ?? "Waiting"}${percent}${size ? ` · ${sizeOf(size)}` : ""}`;
    state.classList.toggle("failed", failed);
    bar.hidden = failed;
    if (typeof share === "number") bar.value = share;
    else bar.removeAttribute("value");
    const label = failed ? "Dismiss" : "Cancel";
    if (stop.textContent !== label) stop.textContent = label;
    stop.setAttribute("aria-label", `${label}: ${name}`);
  }
}
