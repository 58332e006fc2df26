// What the npm package openai makes of a realtime session: its events, a line of JSON each, and how it was closed.
//
//     node client.mjs URL KEY PCM
//
// PCM is a file of samples: one channel, 16 bits, 24 kHz. The package opens wss: whatever the URL says. Knows no test.
import fs from "node:fs";
import process from "node:process";

import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";

const PIECE = 4800; // bytes of a tenth of a second

const [url, key, file] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key });
const realtime = new OpenAIRealtimeWS({ model: "whisper-1" }, client);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

realtime.on("error", (error) => say({ type: "error", message: error.message }));
realtime.on("event", say);
realtime.socket.on("open", () => {
  const input = { transcription: { language: "en" } };
  realtime.send({ type: "session.update", session: { type: "transcription", audio: { input } } });
  const pcm = fs.readFileSync(file);
  for (let start = 0; start < pcm.length; start += PIECE) {
    const audio = pcm.subarray(start, start + PIECE).toString("base64");
    realtime.send({ type: "input_audio_buffer.append", audio });
  }
  realtime.send({ type: "session.close" });
});
realtime.socket.on("close", (code) => say({ type: "closed", code }));
