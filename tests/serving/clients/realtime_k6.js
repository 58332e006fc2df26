// Each virtual user streams a recording into a session of its own, and says what it was told as a line of JSON.
import encoding from "k6/encoding";
import ws from "k6/ws";

const pcm = new Uint8Array(open(__ENV.PCM, "b")); // 16 bits, 24 kHz, mono
const PIECE = 4800; // bytes: 100 ms
const EACH_MS = 50;

export default function () {
  const events = [];
  const parameters = { headers: { Authorization: `Bearer ${__ENV.KEY}` } };
  const answer = ws.connect(__ENV.URL, parameters, (socket) => {
    const say = (type, fields) => socket.send(JSON.stringify({ type, ...fields }));
    let place = 0;
    socket.on("open", () => {
      say("session.update", {
        session: { audio: { input: { transcription: { language: "en" } } }, turnscribe: { keep: false } },
      });
      socket.setInterval(() => {
        if (place > pcm.length) return;
        if (place === pcm.length) say("session.close", {});
        else say("input_audio_buffer.append", { audio: encoding.b64encode(pcm.slice(place, place + PIECE).buffer) });
        place = place === pcm.length ? place + 1 : Math.min(place + PIECE, pcm.length);
      }, EACH_MS);
    });
    socket.on("message", (message) => {
      const event = JSON.parse(message);
      events.push(event);
      if (event.type === "session.closed") socket.close();
    });
    socket.on("error", (error) => events.push({ type: "k6.error", error: error.error() }));
    socket.setTimeout(() => socket.close(), 120_000);
  });
  console.log(JSON.stringify({ status: answer.status, events }));
}
