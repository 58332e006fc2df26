// The frame around the views: which of them is shown, the document's title, the job or the live session in the
// address (#job=..., #live=...).

const NAME = "Turnscribe";

export class Frame {
  #views;
  #anew;

  /** `views`: name -> its section. `anew`: the button that leads back to the view "start". */
  constructor(views, anew) {
    this.#views = views;
    this.#anew = anew;
  }

  get view() {
    return document.body.dataset.view;
  }

  set view(view) {
    for (const [name, section] of Object.entries(this.#views)) section.hidden = name !== view;
    this.#anew.hidden = view === "start";
    document.body.dataset.view = view;
  }

  /** What is shown, before the page's own name; "" for that alone. */
  set title(text) {
    document.title = text ? `${text} – ${NAME}` : NAME;
  }

  /** The job's id; null where the address has none. Setting it makes a reload go on with that job. */
  get job() {
    return addressed("job");
  }

  set job(id) {
    address("job", id);
  }

  /** The live session's id, in the place of a job's. */
  get live() {
    return addressed("live");
  }

  set live(id) {
    address("live", id);
  }
}

function addressed(name) {
  return new URLSearchParams(location.hash.slice(1)).get(name);
}

function address(name, id) {
  history.replaceState(null, "", id ? `#${name}=${encodeURIComponent(id)}` : location.pathname + location.search);
}
