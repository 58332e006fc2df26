// What a job on the server is at, in words.

// As the server names them.
const STAGES = {
  decode: "Reading the file",
  speech: "Finding speech",
  asr: "Transcribing",
  diarization: "Telling speakers apart",
};

/** `state`: a job's, as the server says it. `share`: of all the time it takes, 0 to 1, and `remaining`: the seconds
 * that are left; null where nobody knows. */
export function described({ status, position, progress, stage, remaining_s: remaining }) {
  if (status !== "queued") {
    return { phase: STAGES[stage] || "Transcribing", share: progress || null, remaining: remaining ?? null };
  }
  const phase = position ? `Waiting, ${position} ahead in line` : "Waiting, next in line";
  return { phase, share: null, remaining: null };
}
