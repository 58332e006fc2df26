// What a job on the server is at, in words.

// As the server names them.
const STAGES = {
  decode: "Reading the file",
  speech: "Finding speech",
  asr: "Transcribing",
  diarization: "Telling speakers apart",
};

/** `state`: a job's, as the server says it. `share`: of this phase, 0 to 1; null where nobody knows. */
export function described({ status, position, progress, stage }) {
  if (status !== "queued") return { phase: STAGES[stage] || "Transcribing", share: progress || null };
  return { phase: position ? `Waiting, ${position} ahead in line` : "Waiting, next in line", share: null };
}
