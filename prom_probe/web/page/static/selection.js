// Which processes have a band of their own: the largest over the whole range, and those that led when it mattered.

const LEADERS = 2; // of the greatest second
const BUSIEST = 2; // by CPU, so that both graphs have processes to show

/** The part of a process's life that lies within a window, in seconds. */
function seconds(process, window) {
  const end = process.end ?? window.end;
  return Math.max(0, Math.min(process.last ?? end, window.end) - Math.max(process.first ?? process.start, window.start)) + window.step;
}

/**
 * At most `most` processes, largest first. `leaders`: the PIDs of those with most memory, and with most CPU, at the
 * tree's greatest second, with its time: {memory: {pids, t}, cpu: {pids, t}}. `pinned`: keys that were asked for.
 *
 * By peaks alone, children that lived for a second would take all places; by area alone, a short spike would have none.
 */
export function chooseProcesses(processes, window, { leaders = {}, pinned = [], most = 7 } = {}) {
  const chosen = new Map();
  const take = (some, room) => {
    for (const process of some) {
      if (room <= 0 || chosen.size >= most) {
        return;
      }
      if (!chosen.has(process.key)) {
        chosen.set(process.key, process);
        room--;
      }
    }
  };
  const area = (process) => process.peak * seconds(process, window);
  const busy = (process) => (process.cpuSeconds * seconds(process, window)) / Math.max(1, (process.end ?? window.end) - process.start);
  const byMost = (amount) => [...processes].sort((one, other) => amount(other) - amount(one));
  take(pinned.map((key) => processes.find((process) => process.key === key)).filter(Boolean), most);
  for (const { pids, t } of [leaders.memory, leaders.cpu].filter(Boolean)) {
    take(pids.map((pid) => hadPid(processes, pid, t, window.step)).filter(Boolean), LEADERS);
  }
  take(byMost(busy), BUSIEST);
  take(byMost(area), most);
  return [...chosen.values()].sort((one, other) => area(other) - area(one));
}

/** The process that had a PID at `t`. */
function hadPid(processes, pid, t, step) {
  return processes.find((process) => process.pid === pid && process.first - step <= t && t - step <= process.last);
}

/** Gives each chosen process a colour, the same one for as long as it stays chosen. */
export class Palette {
  #slots = new Map();

  constructor(colours) {
    this.colours = colours;
  }

  assign(keys) {
    for (const key of this.#slots.keys()) {
      if (!keys.includes(key)) {
        this.#slots.delete(key);
      }
    }
    const taken = new Set(this.#slots.values());
    const free = this.colours.map((_, slot) => slot).filter((slot) => !taken.has(slot));
    for (const key of keys) {
      if (!this.#slots.has(key) && free.length) {
        this.#slots.set(key, free.shift());
      }
    }
  }

  /** Undefined where the process is among the rest. */
  colourOf(key) {
    return this.colours[this.#slots.get(key)];
  }
}
