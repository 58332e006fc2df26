// The buttons that start a live session: with the microphone, or with the chosen file while it plays.

import { whyNotLive } from "./live-source.js";

export class LiveButtons {
  /** `parts`: the elements listen, listenNote, playIn. `events`: onListen(), onPlayIn(). */
  constructor({ listen, listenNote, playIn }, { notices, recordButton, onListen, onPlayIn }) {
    listen.addEventListener("click", () => {
      if (recordButton.busy) notices.error = "Stop the recording first.";
      else onListen();
    });
    playIn.addEventListener("click", () => onPlayIn());
    const reason = whyNotLive();
    if (!reason) return;
    listen.disabled = true;
    playIn.hidden = true;
    listenNote.textContent = reason;
  }
}
