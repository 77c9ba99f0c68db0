// One graph: uPlot with bands from the bottom up, lines, marks of events, and the chosen moment.

import { eventType, marksOf } from './events.js';
import { UNITS } from './units.js';
import { formatAxisTimes } from './time.js';
import { stackUp, withNulls } from './stack.js';
import { themeColour } from './theme.js';
import { cellOf, greatestCell, timesOf } from './window.js';

const CLICK_PX = 6; // a finger is never quite still
const SNAP_PX = { mouse: 3, pen: 6, touch: 12 }; // a tap beside a spike means the spike
const HEIGHTS = { tall: 190, low: 110 };
const LIMIT_IN_SIGHT = 2.5; // a limit further above the data than this would press it flat
const REST_ALPHA = 0.55;

export class Chart {
  #plot = null;
  #shape = ''; // of the series that the plot was made for
  #data = null;
  #view = [0, 1];
  #moment = null;
  #events = [];
  #line = null; // the element that marks the moment

  /** `panel`: a row of PANELS. `on`: what is to be called: moment(t), zoom(from, to), pan(from, to, done), hover(cell). */
  constructor(host, panel, on) {
    this.host = host;
    this.panel = panel;
    this.on = on;
  }

  /**
   * Draws. `bands`: [{name, colour, cells}] from the bottom up, below `total`; `lines`: [{name, colour, cells, dashed}].
   * `total`: cells; null where nothing is stacked.
   */
  draw(window, bands, total, lines, events) {
    const edges = total ? stackUp(bands.map(({ cells }) => cells), total) : [];
    this.#data = { window, bands, total, lines, edges };
    this.#events = marksOf(events);
    this.#view = [window.start, window.end];
    const arrays = [timesOf(window), ...edges, ...lines.map(({ cells }) => withNulls(cells))];
    const shape = JSON.stringify([bands.map(({ colour }) => colour), lines.map(({ colour, dashed }) => [colour, dashed]), Boolean(total)]);
    if (this.#plot && shape === this.#shape) {
      this.#plot.setData(arrays);
    } else {
      this.#shape = shape;
      this.#create(arrays);
    }
    this.#placeMoment();
  }

  setMoment(t) {
    this.#moment = t;
    this.#placeMoment();
  }

  /** Shows another range of the data that is here already: while somebody drags, or until finer data has come. */
  setView(from, to) {
    this.#view = [from, to];
    this.#plot?.setScale('x', { min: from, max: to });
    this.#placeMoment();
  }

  /** After a change of size or colours. */
  resize() {
    if (this.#plot && this.host.clientWidth) {
      this.#plot.setSize({ width: this.host.clientWidth, height: this.#height() });
      this.#placeMoment();
    }
  }

  recolour() {
    if (this.#data) {
      this.#shape = '';
      const { window, bands, total, lines } = this.#data;
      const view = this.#view;
      this.draw(window, bands, total, lines, this.#events);
      this.setView(...view);
    }
  }

  #height() {
    return this.panel.tall ? HEIGHTS.tall : HEIGHTS.low;
  }

  #create(arrays) {
    this.#plot?.destroy();
    const { bands, lines, total } = this.#data;
    const edges = total ? bands.length + 1 : 0;
    const colours = [...bands.map(({ colour }) => colour), ...(total ? [themeColour('rest')] : [])];
    const series = colours.map((colour, index) => ({
      stroke: colour,
      width: 1,
      points: { show: false },
      ...(index === 0 ? { fill: fillOf(colour, index === edges - 1) } : {}),
    }));
    const between = colours.slice(1).map((colour, index) => ({ series: [index + 2, index + 1], fill: fillOf(colour, index + 2 === edges) }));
    this.#plot = new uPlot(
      {
        width: Math.max(200, this.host.clientWidth),
        height: this.#height(),
        padding: [10, 10, 0, 0],
        legend: { show: false },
        cursor: this.#cursor(),
        scales: { x: { range: () => this.#view }, y: { range: (_, least, most) => this.#range(least, most) } },
        axes: this.#axes(),
        series: [{}, ...series, ...lines.map(({ colour, dashed }) => lineSeries(colour, dashed))],
        bands: between,
        hooks: {
          setSelect: [(plot) => this.#selected(plot)],
          setCursor: [(plot) => this.on.hover(plot.cursor.idx)],
          // A new plot knows only now where a moment is.
          draw: [(plot) => this.#drawEvents(plot), () => this.#placeMoment()],
        },
      },
      arrays,
      this.host,
    );
    this.#line = document.createElement('div');
    this.#line.className = 'moment';
    this.#plot.over.append(this.#line);
    this.#listen(this.#plot.over);
  }

  #cursor() {
    return {
      y: false,
      points: { show: false },
      sync: { key: 'time' },
      drag: { x: true, y: false, setScale: false, dist: CLICK_PX },
      bind: {
        dblclick: () => null,
        mousedown: (plot, target, handle) => (event) => (event.shiftKey ? this.#pan(event) : handle(event)),
      },
    };
  }

  #axes() {
    const { format, increments } = UNITS[this.panel.unit];
    const common = { stroke: themeColour('dim'), font: '11px system-ui, sans-serif', ticks: { show: false } };
    const grid = { stroke: themeColour('grid'), width: 1 };
    return [
      { ...common, grid, size: 26, gap: 4, space: 70, values: (_, splits) => formatAxisTimes(splits) },
      { ...common, grid, size: 76, gap: 6, space: 32, values: (_, splits) => splits.map(format), ...(increments ? { incrs: increments } : {}) },
    ];
  }

  /** From 0; a limit is in the picture where it is near enough to matter. */
  #range(least, most) {
    const near = this.#data.lines.filter(({ dashed }) => dashed).map(({ cells }) => cells[greatestCell(cells)] ?? 0);
    const top = Math.max(most || 0, ...near.filter((value) => value <= LIMIT_IN_SIGHT * (most || 0)));
    return [0, top ? top * 1.08 : 1];
  }

  #selected(plot) {
    const { left, width } = plot.select;
    if (width >= CLICK_PX) {
      this.on.zoom(plot.posToVal(left, 'x'), plot.posToVal(left + width, 'x'));
    }
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  }

  /** Shift and drag. */
  #pan(event) {
    const [from, to] = this.#view;
    const seconds = (to - from) / this.#plot.over.clientWidth;
    const moved = (now) => [from - (now.clientX - event.clientX) * seconds, to - (now.clientX - event.clientX) * seconds];
    const move = (now) => this.on.pan(...moved(now), false);
    const up = (now) => {
      removeEventListener('mousemove', move);
      removeEventListener('mouseup', up);
      this.on.pan(...moved(now), true);
    };
    addEventListener('mousemove', move);
    addEventListener('mouseup', up);
  }

  /** A click or a tap chooses a moment. */
  #listen(over) {
    let down = null;
    over.addEventListener('pointerdown', (event) => (down = event.shiftKey ? null : event));
    over.addEventListener('pointerup', (event) => {
      if (down && Math.hypot(event.clientX - down.clientX, event.clientY - down.clientY) < CLICK_PX) {
        const x = event.clientX - over.getBoundingClientRect().left;
        this.on.moment(this.#snapped(x, SNAP_PX[event.pointerType] ?? SNAP_PX.mouse));
      }
      down = null;
    });
  }

  /** The moment at a place of the plot: that of the greatest value within some pixels. */
  #snapped(x, pixels) {
    const { window, total, lines } = this.#data;
    const [from, to] = [x - pixels, x + pixels].map((place) => cellOf(window, this.#plot.posToVal(place, 'x')));
    let cell = -1;
    let most = -Infinity;
    for (const cells of total ? [total] : lines.map((line) => line.cells)) {
      const best = greatestCell(cells, from, to);
      if (best >= 0 && cells[best] > most) {
        [cell, most] = [best, cells[best]];
      }
    }
    return cell >= 0 ? window.start + cell * window.step : Math.round(this.#plot.posToVal(x, 'x'));
  }

  #placeMoment() {
    if (!this.#line) {
      return;
    }
    const [from, to] = this.#view;
    const inside = this.#moment !== null && from <= this.#moment && this.#moment <= to;
    this.#line.hidden = !inside;
    if (inside) {
      this.#line.style.transform = `translateX(${this.#plot.valToPos(this.#moment, 'x')}px)`;
    }
  }

  /** Marks at the foot of the graph; what is grave goes over all of it. */
  #drawEvents(plot) {
    const { ctx, bbox } = plot;
    const colours = Object.fromEntries(['bad', 'warn', 'dim'].map((tone) => [tone, themeColour(tone)]));
    ctx.save();
    for (const event of this.#events) {
      const { tone, line } = eventType(event);
      const x = plot.valToPos(event.t, 'x', true);
      if (x < bbox.left || x > bbox.left + bbox.width) {
        continue;
      }
      const foot = bbox.top + bbox.height;
      const size = 4 * uPlot.pxRatio;
      ctx.fillStyle = ctx.strokeStyle = colours[tone];
      ctx.beginPath();
      ctx.moveTo(x, foot - size);
      ctx.lineTo(x + size / 2, foot);
      ctx.lineTo(x - size / 2, foot);
      ctx.fill();
      if (line) {
        ctx.setLineDash([size / 2, size / 2]);
        ctx.strokeRect(x, bbox.top, 0, bbox.height);
      }
    }
    ctx.restore();
  }
}

/** The rest's band is paler, so that nobody takes it for a process. */
function fillOf(colour, rest) {
  const alpha = Math.round((rest ? REST_ALPHA : 0.85) * 255).toString(16);
  return colour.length === 7 ? colour + alpha : colour;
}

/** A line without a colour of its own is the total or a limit above bands, which must not cover them. */
function lineSeries(colour, dashed) {
  const line = { stroke: colour ?? themeColour('text'), width: colour ? 1.5 : 1, points: { show: false }, auto: !dashed };
  return dashed ? { ...line, dash: [4, 4] } : line;
}
