// Fills a recording from a source, what is looked at first coming first.

import { chooseProcesses } from './selection.js';
import { PANELS } from './panels.js';
import { greatestCell } from './window.js';

const FIRST = ['memory', 'cpu', 'memoryLimit', 'cpuLimit', 'memoryHighest'];
const LEADERS_ASKED = 2;

/**
 * Asks for everything that the panels show of `recording`'s window. `shown` is called after each part, with the
 * lines that have come and, once it is known, with the chosen processes: something is to be seen early. `choice`: {pinned, most}.
 */
export async function load(source, recording, tree, choice, shown, signal) {
  const { window } = recording;
  const processes = source.processes(tree, window.start - window.step, window.end, signal);
  const events = source.events(tree, window.start, window.end, signal);
  processes.catch(() => {}); // it is awaited below; until then an error is nobody's
  events.catch(() => {});
  await loadLines(source, recording, FIRST, tree, signal);
  shown({ ids: FIRST });
  recording.processes = new Map((await processes).map((process) => [process.key, process]));
  recording.events = await events;
  const chosen = await chosenOf(source, recording, tree, choice, signal);
  await loadValues(source, recording, tree, chosen, signal);
  shown({ chosen, ids: FIRST });
  for (const { lines } of PANELS.filter((panel) => !panel.stacked)) {
    await loadLines(source, recording, lines, tree, signal);
    shown({ chosen, ids: lines });
  }
}

async function loadLines(source, recording, ids, tree, signal) {
  for (const [id, series] of await source.lines(ids, tree, recording.window, signal)) {
    recording.lines.set(id, series);
  }
}

/** Memory and CPU of some processes over the whole window. */
export async function loadValues(source, recording, tree, processes, signal) {
  const { window } = recording;
  for (const kind of processes.length ? ['memory', 'cpu'] : []) {
    for (const [key, cells] of await source.byProcess(kind, tree, processes, window, signal)) {
      recording.takeValues(kind, key, cells, window);
    }
  }
}

async function chosenOf(source, recording, tree, choice, signal) {
  const { window } = recording;
  const leaders = {};
  for (const kind of ['memory', 'cpu']) {
    const cell = greatestCell(recording.cellsOf(kind));
    if (cell >= 0) {
      const t = window.start + cell * window.step;
      leaders[kind] = { pids: await source.leaders(kind, tree, LEADERS_ASKED, t, window.step, signal), t };
    }
  }
  return chooseProcesses([...recording.processes.values()], window, { leaders, ...choice });
}

/** The second, within the step that ends at `t`, at which the tree had most of a line. */
export async function greatestSecond(source, tree, id, t, step) {
  if (step <= source.interval) {
    return t;
  }
  const window = { start: t - step + 1, end: t, step: 1, length: step };
  const cells = (await source.lines([id], tree, window)).get(id)[0]?.cells;
  const cell = cells ? greatestCell(cells) : -1;
  return cell < 0 ? t : window.start + cell;
}
