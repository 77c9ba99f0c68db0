// Which processes have a band and a colour: chosen when a range is loaded, anew while live, or by the reader.

import { loadValues } from './loader.js';
import { COLOURS } from './panels.js';
import { chooseProcesses, Palette } from './selection.js';
import { greatestCell } from './window.js';

const MOST_PINNED = 3;
const AGAIN_EVERY = 5; // live: bands that come and go each second could not be read

export class Chosen {
  list = [];
  #pinned = [];
  #palette = new Palette(COLOURS);
  #updates = 0;

  colourOf(key) {
    return this.#palette.colourOf(key);
  }

  /** What is to be chosen by; see chooseProcesses. */
  get choice() {
    return { pinned: this.#pinned, most: COLOURS.length };
  }

  set(processes) {
    this.list = processes;
    this.#palette.assign(processes.map(({ key }) => key));
  }

  has(key) {
    return this.list.some((process) => process.key === key);
  }

  /** Gives a process a band; what was asked for longest ago makes room. */
  async pin(key, source, tree, recording) {
    this.#pinned = [key, ...this.#pinned.filter((each) => each !== key)].slice(0, MOST_PINNED);
    await this.#choose(source, tree, recording, leadersOf(recording));
  }

  /** While live: chooses anew now and then, and at once when another process leads. */
  update(source, tree, recording) {
    const leaders = leadersOf(recording);
    const known = new Set(this.list.map(({ pid }) => pid));
    if (this.#updates++ % AGAIN_EVERY === 0 || Object.values(leaders).some(({ pids }) => !known.has(pids[0]))) {
      this.#choose(source, tree, recording, leaders);
    }
  }

  /** A newly chosen process gets its past. */
  async #choose(source, tree, recording, leaders) {
    const { window } = recording;
    const chosen = chooseProcesses([...recording.processes.values()], window, { leaders, ...this.choice });
    const past = chosen.filter(({ key, first }) => !this.has(key) && first < window.end - 2 * window.step);
    this.set(chosen);
    await loadValues(source, recording, tree, past).catch(() => {}); // its band begins now, then
  }
}

/** Which processes have most memory and CPU at the tree's greatest second, as far as the recording knows. */
function leadersOf({ values, window, processes, lines }) {
  const leaders = {};
  for (const kind of ['memory', 'cpu']) {
    const cell = greatestCell(lines.get(kind)?.[0]?.cells ?? []);
    const sorted = [...values[kind]].filter(([, cells]) => cells[cell] > 0).sort(([, one], [, other]) => other[cell] - one[cell]);
    const pids = sorted.slice(0, 2).map(([key]) => processes.get(key)?.pid).filter((pid) => pid !== undefined);
    if (pids.length) {
      leaders[kind] = { pids, t: window.start + cell * window.step };
    }
  }
  return leaders;
}
