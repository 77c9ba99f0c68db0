// What the page has of the range that it shows: lines and values of processes on one grid, which moves on while live.

import { cellOf, emptyCells, windowOf } from './window.js';

export class Recording {
  constructor(window, interval = 1) {
    this.window = window;
    this.interval = interval;
    this.lines = new Map(); // line id -> [{name, cells}]
    this.values = { memory: new Map(), cpu: new Map() }; // by process key -> cells
    this.processes = new Map(); // by key, see processFrom in source.js
    this.events = [];
  }

  /** The cells of a line that is one of its kind; NaN everywhere where there is none. */
  cellsOf(id) {
    return this.lines.get(id)?.[0]?.cells ?? emptyCells(this.window);
  }

  /** Moves the window on so that it ends at `end` or later; what falls out is forgotten. */
  moveTo(end) {
    const { start, end: before, step } = this.window;
    const moved = windowOf(start + (end - before), end, step);
    const shift = Math.round((moved.end - before) / step);
    if (shift <= 0) {
      return;
    }
    this.window = { ...this.window, start: start + shift * step, end: before + shift * step };
    const all = [...this.lines.values()].flat().map(({ cells }) => cells);
    for (const cells of [...all, ...this.values.memory.values(), ...this.values.cpu.values()]) {
      cells.copyWithin(0, shift);
      cells.fill(NaN, Math.max(0, cells.length - shift));
    }
    this.#forget();
  }

  /** Puts a sample on the grid: the greatest of a step stays. */
  #put(cells, t, value) {
    const cell = cellOf(this.window, t);
    if (cell >= 0 && cell < cells.length && !(cells[cell] > value && this.window.step > this.interval)) {
      cells[cell] = value;
    }
  }

  putLine(id, name, t, value) {
    const series = this.lines.get(id) ?? [];
    this.lines.set(id, series);
    let found = series.find((each) => each.name === name);
    if (!found) {
      found = { name, cells: emptyCells(this.window) };
      series.push(found);
    }
    this.#put(found.cells, t, value);
  }

  /** `process`: {key, pid, name, start}, perhaps one that nobody knew of. */
  putValue(kind, process, t, value) {
    const known = this.processes.get(process.key);
    if (!known) {
      this.processes.set(process.key, {
        ...process, names: [process.name], parent: null, commandLine: null, first: t, last: t, end: null, peak: 0, cpuSeconds: 0,
      });
    } else if (t > known.last) {
      known.last = t;
      known.name = process.name;
    }
    const now = this.processes.get(process.key);
    now.current = { ...(now.current?.t === t ? now.current : {}), t, [kind]: value };
    if (kind === 'memory') {
      now.peak = Math.max(now.peak, value);
    } else {
      now.cpuSeconds += value * this.interval;
    }
    if (!this.values[kind].has(process.key)) {
      this.values[kind].set(process.key, emptyCells(this.window));
    }
    this.#put(this.values[kind].get(process.key), t, value);
  }

  /** Takes the cells of a process on the grid of `window`, which may have moved on since they were asked for. */
  takeValues(kind, key, cells, window) {
    if (!this.values[kind].has(key)) {
      this.values[kind].set(key, emptyCells(this.window));
    }
    const ours = this.values[kind].get(key);
    cells.forEach((value, cell) => Number.isNaN(value) || this.#put(ours, window.start + cell * window.step, value));
  }

  /** The rows of the processes that the newest samples, of `t`, know; a process that is missing there has ended. */
  currentRows(t) {
    const rows = [];
    for (const process of this.processes.values()) {
      const { current } = process;
      if (current && t - current.t < 1.5 * this.interval) {
        process.end = null;
        rows.push({ ...process, memory: current.memory, cpu: current.cpu });
      } else if (process.end === null && current) {
        process.end = process.last;
      }
    }
    return rows;
  }

  /** Processes that ended before the window began are no longer needed, nor are events. */
  #forget() {
    for (const [key, { last }] of this.processes) {
      if (last < this.window.start) {
        this.processes.delete(key);
        this.values.memory.delete(key);
        this.values.cpu.delete(key);
      }
    }
    this.events = this.events.filter(({ t }) => t >= this.window.start);
  }
}
