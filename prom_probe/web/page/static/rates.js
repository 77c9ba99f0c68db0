// From a counter's samples to values a second.

const FRESH_S = 2;

/**
 * [t, value a second] for each sample of [[t, value], …] that has one before it; `last` is the one before the first of
 * them, if any. A process's first sample, soon after its `start`, stands for all that it used until then.
 */
export function ratesOf(samples, last, start) {
  const found = [];
  for (const [t, value] of samples) {
    if (last) {
      // A counter that is below what it was has begun anew.
      found.push([t, (value >= last[1] ? value - last[1] : value) / (t - last[0])]);
    } else if (start !== undefined && t - start <= FRESH_S) {
      found.push([t, value / Math.max(1, t - start)]);
    }
    last = [t, value];
  }
  return found;
}
