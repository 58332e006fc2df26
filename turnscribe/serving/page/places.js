// Where in the words a time is. Touches no element.

/** The indices of words by their start, to look a time up in. */
export function byStart(words) {
  return words.map((_, index) => index).sort((one, other) => words[one].start - words[other].start || one - other);
}

/** The last of `order` that starts no later than `time`; -1 before the first. */
export function at(words, order, time) {
  let low = 0;
  let high = order.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (words[order[middle]].start <= time) low = middle + 1;
    else high = middle;
  }
  return low ? order[low - 1] : -1;
}
