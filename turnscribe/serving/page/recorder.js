// A recording from the microphone. Knows neither the page nor the server.

const TYPES = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];

/** There is nothing to hear, for a reason that is a sentence. */
export class Unheard extends Error {}

/** Why there is no recording here, as a sentence; null where there is. */
export function whyNot() {
  if (!window.isSecureContext) return "Recording needs an address with https.";
  if (!navigator.mediaDevices?.getUserMedia || !window.MediaRecorder) return "This browser cannot record.";
  return null;
}

/** What the microphone hears, as a stream. Throws `Unheard` where it is denied. */
export async function microphone() {
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: true });
  } catch (error) {
    throw new Unheard(
      error.name === "NotFoundError"
        ? "No microphone was found."
        : "The browser did not allow the microphone; allow it in the site's settings to record.",
    );
  }
}

/** A running recording of the stream: `stop()` ends both and resolves to the file. */
export function recordingOf(stream) {
  const mimeType = TYPES.find((type) => MediaRecorder.isTypeSupported(type));
  const recorder = new MediaRecorder(stream, mimeType ? { mimeType } : {});
  const parts = [];
  recorder.ondataavailable = (event) => event.data.size && parts.push(event.data);
  const ended = new Promise((resolve) => (recorder.onstop = resolve));
  recorder.start(1000); // a part a second, so that little is lost where the browser gives up
  return {
    ended, // also when the microphone is unplugged
    async stop() {
      if (recorder.state !== "inactive") recorder.stop();
      await ended;
      for (const track of stream.getTracks()) track.stop();
      const type = recorder.mimeType.split(";")[0];
      return new File(parts, name(type), { type });
    },
  };
}

function name(type) {
  const now = new Date();
  const two = (number) => String(number).padStart(2, "0");
  const day = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
  return `recording-${day}-${two(now.getHours())}${two(now.getMinutes())}.${type.split("/")[1]}`;
}
