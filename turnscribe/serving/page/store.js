// What this tab remembers until it is closed. A browser may keep nothing: then it lasts as long as the page.

export class Store {
  get(name) {
    try {
      return sessionStorage.getItem(name);
    } catch {
      return null;
    }
  }

  set(name, value) {
    try {
      sessionStorage.setItem(name, value);
    } catch {
      // Whoever sets a value holds it too.
    }
  }
}
