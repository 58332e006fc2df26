// Waiting, and asking a server again that does not answer for a while.

const FIRST = 1000; // milliseconds until the second attempt; every pause is twice the one before
const LONGEST = 15000;

/** Attempts again and again while the error is a temporary one. `onTrouble(sentence)` at each failure. */
export async function patiently(attempt, { onTrouble, signal }) {
  for (let pause = FIRST; ; pause = Math.min(pause * 2, LONGEST)) {
    try {
      return await attempt();
    } catch (error) {
      if (signal?.aborted || !error.temporary) throw error;
      onTrouble(`${error.message} This page keeps asking.`);
      await rest(pause, signal);
    }
  }
}

/** Rejects with the signal's reason where it is aborted before the time is over. */
export function rest(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
