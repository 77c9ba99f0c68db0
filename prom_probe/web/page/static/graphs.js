// The graphs, one below the other, with one axis of time: each panel's heading, what it reads, and its chart.

import { Chart } from './chart.js';
import { byId, make, swatch } from './dom.js';
import { COLOURS, LINES, PANELS } from './panels.js';
import { formatMoment } from './time.js';
import { UNITS } from './units.js';
import { cellOf, greatestCell } from './window.js';

export class Graphs {
  #panels = new Map(); // id -> {panel, section, readout, chart, lines, total, bands}
  #moment = null;
  #hovered = null; // a cell
  #recording = null;
  #panning = 0;

  /** `host`: the element that they go into. `on`: see chart.js. `colourOf`: of a process's key. */
  constructor(host, on, colourOf) {
    this.host = host;
    this.colourOf = colourOf;
    this.on = { ...on, hover: (cell) => this.#hover(cell), pan: (from, to, done) => this.#pan(on, from, to, done) };
    PANELS.forEach((panel) => this.#add(panel));
    new ResizeObserver(() => this.#each(({ chart }) => chart.resize())).observe(host);
  }

  /**
   * Draws what a recording has, of all panels or of those with one of the lines `ids`. `chosen`: processes with a band of
   * their own. Says whether there is anything to be seen.
   */
  draw(recording, chosen, ids = null) {
    this.#recording = recording;
    let any = false;
    for (const shown of this.#panels.values()) {
      const { panel, section, chart } = shown;
      if (ids && !panel.lines.some((id) => ids.includes(id))) {
        any ||= !section.hidden;
        continue;
      }
      shown.lines = this.#linesOf(panel, recording);
      shown.total = panel.stacked ? recording.cellsOf(panel.lines[0]) : null;
      shown.bands = panel.stacked ? this.#bandsOf(panel.stacked, recording, chosen) : [];
      section.hidden = !shown.lines.some(({ cells }) => greatestCell(cells) >= 0);
      if (!section.hidden) {
        any = true;
        chart.draw(recording.window, shown.bands, shown.total, shown.lines, recording.events);
      }
    }
    this.#read();
    return any;
  }

  setMoment(t) {
    this.#moment = t;
    this.#each(({ chart }) => chart.setMoment(t));
    this.#read();
  }

  /** Another range of what is there already. */
  setView(from, to) {
    this.#each(({ chart, section }) => section.hidden || chart.setView(from, to));
  }

  recolour() {
    this.#each(({ chart, section }) => section.hidden || chart.recolour());
  }

  #each(visit) {
    this.#panels.forEach(visit);
  }

  #add(panel) {
    const id = `panel-${panel.id}`;
    const readout = make('p', { className: 'readout' });
    const plot = make('div', { className: 'plot' });
    const section = make(
      'section', { id, className: 'panel', hidden: true, 'aria-labelledby': `${id}-title` },
      make('h2', { id: `${id}-title`, textContent: panel.title }), readout, plot,
    );
    (byId(`place-${panel.id}`) ?? this.host).append(section);
    this.#panels.set(panel.id, { panel, section, readout, chart: new Chart(plot, panel, this.on), lines: [], total: null, bands: [] });
  }

  /** A panel's lines: those that are one of several, such as GPUs, have their name in the label. */
  #linesOf(panel, recording) {
    const found = [];
    for (const id of panel.lines) {
      for (const { name, cells } of recording.lines.get(id) ?? []) {
        const dashed = panel.dashed?.includes(id) ?? false;
        const colour = panel.stacked ? undefined : COLOURS[found.length % COLOURS.length];
        found.push({ id, label: name ? `${LINES[id].label} ${name}` : LINES[id].label, colour, cells, dashed });
      }
    }
    return found;
  }

  #bandsOf(kind, recording, chosen) {
    return chosen
      .filter(({ key }) => recording.values[kind].has(key))
      .map((process) => ({ process, colour: this.colourOf(process.key), cells: recording.values[kind].get(process.key) }));
  }

  #hover(cell) {
    if (cell !== this.#hovered) {
      this.#hovered = cell ?? null;
      this.#read();
    }
  }

  /** A mouse moves more often than a screen shows: one drawing a frame. */
  #pan(on, from, to, done) {
    cancelAnimationFrame(this.#panning);
    if (done) {
      on.zoom(from, to);
    } else {
      this.#panning = requestAnimationFrame(() => this.setView(from, to));
    }
  }

  /** What each panel's heading says: of the place under the pointer, else of the chosen moment, else of the whole range. */
  #read() {
    if (!this.#recording) {
      return;
    }
    const { window } = this.#recording;
    const cell = this.#hovered ?? (this.#moment === null ? null : cellOf(window, this.#moment));
    this.#each((shown) => {
      if (!shown.section.hidden) {
        shown.readout.replaceChildren(...(shown.total ? stackReadout(shown, window, cell) : linesReadout(shown, cell)));
      }
    });
  }
}

const clockAt = (window, cell) => formatMoment(window.start + cell * window.step);

function stackReadout({ panel, total, bands, lines }, window, cell) {
  const { format } = UNITS[panel.unit];
  const limit = lines.find(({ label, cells }) => label === 'limit' && greatestCell(cells) >= 0);
  const limits = limit ? ` · limit ${format(limit.cells[greatestCell(limit.cells)])}` : '';
  if (cell === null || cell < 0 || cell >= total.length) {
    const peak = greatestCell(total);
    return [peak < 0 ? '' : `peak ${format(total[peak])} at ${clockAt(window, peak)}${limits}`];
  }
  const largest = bands.reduce((best, band) => ((band.cells[cell] || 0) > (best?.cells[cell] || 0) ? band : best), null);
  const who = largest ? [' · ', swatch(largest.colour), `${largest.process.name} ${largest.process.pid}: ${format(largest.cells[cell])}`] : [];
  return [`${format(total[cell])} at ${clockAt(window, cell)}`, ...who, limits];
}

function linesReadout({ panel, lines }, cell) {
  const { format } = UNITS[panel.unit];
  return lines
    .filter(({ cells }) => greatestCell(cells) >= 0)
    .map(({ label, colour, cells }) =>
      make('span', { className: 'key' }, swatch(colour), `${label} ${format(cells[cell ?? lastCell(cells)])}`));
}

function lastCell(cells) {
  let cell = cells.length - 1;
  while (cell > 0 && Number.isNaN(cells[cell])) {
    cell--;
  }
  return cell;
}
