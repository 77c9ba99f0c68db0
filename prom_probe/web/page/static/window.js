// The grid of a graph: from a range of time to evenly spaced moments, and values placed on them.

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
const MOST_POINTS = 1200;

/** The smallest step, at least `interval`, that shows `seconds` with at most 1200 points. */
export function stepFor(seconds, interval = 1) {
  const wanted = Math.max(seconds / MOST_POINTS, interval);
  return STEPS.find((step) => step >= wanted) ?? Math.ceil(wanted / 3600) * 3600;
}

/**
 * {start, end, step, length} around a range, in Unix seconds, aligned to the step: so a range that moves keeps its
 * moments. A cell at `t` stands for what was within (t - step, t].
 */
export function windowOf(start, end, interval = 1) {
  const step = stepFor(end - start, interval);
  const first = Math.floor(start / step) * step;
  const last = Math.max(Math.ceil(end / step) * step, first + step);
  return { start: first, end: last, step, length: Math.round((last - first) / step) + 1 };
}

export function timesOf(window) {
  return Array.from({ length: window.length }, (_, cell) => window.start + cell * window.step);
}

/** The cell that a moment belongs to; outside of the window it is negative or too large. */
export function cellOf(window, t) {
  return Math.ceil((t - window.start) / window.step - 1e-6);
}

export function emptyCells(window) {
  return new Float64Array(window.length).fill(NaN);
}

/** Prometheus's [[t, "value"], …] on the grid; NaN where there is none. */
export function cellsFrom(window, points) {
  const cells = emptyCells(window);
  for (const [t, value] of points) {
    const cell = cellOf(window, t);
    if (cell >= 0 && cell < cells.length) {
      cells[cell] = parseValue(value);
    }
  }
  return cells;
}

/** A value as Prometheus writes it: +Inf and -Inf are no numbers of JavaScript's. */
export function parseValue(text) {
  return Number(text.replace('Inf', 'Infinity'));
}

/** The cell of the greatest value between two cells, both included; -1 where there is no value. */
export function greatestCell(cells, from = 0, to = cells.length - 1) {
  let best = -1;
  for (let cell = Math.max(0, from); cell <= Math.min(to, cells.length - 1); cell++) {
    if (!Number.isNaN(cells[cell]) && (best < 0 || cells[cell] > cells[best])) {
      best = cell;
    }
  }
  return best;
}
