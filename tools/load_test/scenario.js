// One request of the scenario that k6 is at. The plan is Python's (plan.py); so is the table.
import exec from 'k6/execution';
import http from 'k6/http';
import { check } from 'k6';

const plan = JSON.parse(open(__ENV.PLAN));
const audio = {};
for (const name of Object.keys(plan.audio)) {
  audio[name] = open(`${__ENV.AUDIO}/${name}.wav`, 'b');
}

export const options = plan.options;

export function transcribe() {
  const request = plan.requests[exec.scenario.name];
  const headers = { 'Content-Type': 'audio/wav' };
  if (__ENV.API_KEY) {
    headers.Authorization = `Bearer ${__ENV.API_KEY}`;
  }
  const answer = http.post(plan.url + request.path, audio[request.audio], { headers, timeout: plan.timeout });
  check(answer, { 'it is a transcript': (given) => given.status === 200 && given.json('text') !== '' });
}

export function handleSummary(data) {
  return { [__ENV.SUMMARY]: JSON.stringify(data) };
}
