// Values of processes to the edges of a stacked graph.

/**
 * Edges from the bottom up, one for each of `bands` and one for the rest up to `total`.
 *
 * A process that is not there counts 0, not nothing: a single point between gaps would not be drawn, and a child that lived
 * for a second would be invisible. There is nothing (null) only where the total is unknown: before the recording, in its gaps.
 * A step's maximum is each process's own, and their sum can be more than the maximum of the sum: the rest is never below 0.
 */
export function stackUp(bands, total) {
  const edges = [];
  let below = new Float64Array(total.length);
  for (const band of bands) {
    below = below.map((value, cell) => value + Math.max(0, band[cell] || 0));
    edges.push(known(below, total));
  }
  edges.push(known(below.map((value, cell) => Math.max(value, total[cell])), total));
  return edges;
}

function known(values, total) {
  return Array.from(values, (value, cell) => (Number.isNaN(total[cell]) ? null : value));
}

/** A line's cells for uPlot, which takes null for no value. */
export function withNulls(cells) {
  return Array.from(cells, (value) => (Number.isNaN(value) ? null : value));
}
