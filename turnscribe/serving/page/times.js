// Times and sizes in words and figures.

/** Seconds as 0:07, 12:30 or 1:02:03. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** Seconds as words, for those who listen: "1 hour 2 minutes 3 seconds". */
export function spokenTime(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  const parts = [
    [Math.floor(whole / 3600), "hour"],
    [Math.floor(whole / 60) % 60, "minute"],
    [whole % 60, "second"],
  ].filter(([number]) => number);
  return parts.map(([number, unit]) => `${number} ${unit}${number === 1 ? "" : "s"}`).join(" ") || "0 seconds";
}

/** The moment as the clock on the wall tells it, with the date where that is not today; "" for no moment. */
export function timeOfDay(moment) {
  if (Number.isNaN(moment.getTime())) return "";
  const day = moment.toDateString() === new Date().toDateString() ? "" : `${moment.toLocaleDateString()} `;
  return day + moment.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

/** Bytes as 168 kB or 2.4 MB. */
export function sizeOf(bytes) {
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1e3))} kB`;
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}
