// The page: what is shown, and what happens when somebody chooses another range, moment, tree or process.

import { isAbort } from './api.js';
import { Chosen } from './chosen.js';
import { Details } from './details.js';
import { byId, setOptions, setText } from './dom.js';
import { showEvents } from './events.js';
import { Expressions } from './expressions.js';
import { Graphs } from './graphs.js';
import { endOf, showMessage, showNow, showRun, showState, staleness } from './header.js';
import { listenToKeys } from './keys.js';
import { Live } from './live.js';
import { greatestSecond, load } from './loader.js';
import { Recording } from './recording.js';
import { rowsAt } from './rows.js';
import { ProcessTable } from './table.js';
import { startTheme } from './theme.js';
import { formatMoment } from './time.js';
import { formatBytes, formatCpus, formatProcesses } from './units.js';
import { DEFAULT_STATE, readHash, writeHash } from './url.js';
import { cellOf, greatestCell, windowOf } from './window.js';

const RANGES = [60, 300, 900, 3600, 28800];
const LEAST_RANGE_S = 10;
const DRAWN_EVERY = 5; // live: a reader's own expressions can be dear
const AGAIN_MS = 2000;
const SETTLED_S = 5; // so late a sample may be and still be now's
const ENDED_S = 30; // without samples for so long, nothing comes any more

export class Page {
  #state;
  #run;
  #span = null;
  #growing = false; // whether new samples can be expected
  #recording = null;
  #chosen = new Chosen();
  #details = new Details();
  #loading = null;
  #tabling = null;
  #updates = 0; // while live

  /** `source`: see source.js. */
  constructor(source) {
    this.source = source;
    const on = { moment: (t) => this.#choose(t), zoom: (from, to) => this.#setRange(from, to), pan: () => {} };
    const colourOf = (key) => this.#chosen.colourOf(key);
    this.graphs = new Graphs(byId('graphs-rest'), on, colourOf);
    this.table = new ProcessTable(byId('processes'), byId('more-rows'), { colourOf, pin: (key) => this.#pin(key) });
    this.live = new Live(source, {
      took: (values, newest) => this.#took(values, newest),
      failed: (error) => this.#failed(error),
      missed: () => this.refresh(),
    });
    if (source.canQuery) {
      this.expressions = new Expressions(source, byId('expressions'), on, {
        moment: () => this.#state.at,
        changed: (draw) => this.#change({ draw }, false),
      });
    }
    byId('promql').hidden = !source.canQuery;
    startTheme(byId('theme'), () => {
      this.graphs.recolour();
      this.expressions?.recolour();
    });
    this.#listen();
  }

  /** Shows what the address asks for, or the newest; tries again by a button where nothing can be had. */
  async start() {
    try {
      this.#run = await this.source.run();
      const trees = await this.source.trees();
      this.#span = await this.source.span();
      const fresh = this.#span !== null && this.source.clock() - this.#span[1] < ENDED_S;
      this.#growing = this.source.canFollow && this.#run.end === null && fresh;
      const asked = readHash(location.hash);
      this.#state = this.#stateFor(asked, trees);
      setOptions(byId('tree'), trees.map((tree) => [tree, tree]), this.#state.tree);
      byId('tree-label').hidden = trees.length < 2;
      showRun(this.#run, this.source.clock());
      if (this.expressions) {
        this.expressions.set(this.#state.draw);
        this.expressions.offerMetrics().catch(() => {}); // without them the list stays hidden
      }
      if (!trees.length || !this.#span) {
        showMessage('There are no samples yet.');
        setTimeout(() => this.start(), AGAIN_MS);
        return;
      }
      showMessage('');
      byId('controls').inert = false;
      await this.refresh();
      if (!asked && !this.#growing) {
        await this.#toPeak('memory'); // of a run that is over, the likeliest question
      }
    } catch (error) {
      showMessage(error.message, { tone: 'bad', retry: () => this.start() });
    }
  }

  /** Loads everything that the range shows. */
  async refresh() {
    this.#loading?.abort();
    this.live.stop();
    const loading = new AbortController();
    this.#loading = loading;
    const asked = this.source.clock();
    const window = windowOf(...this.#range(), this.source.interval);
    const recording = new Recording(window, this.source.interval);
    const first = this.#recording === null;
    this.graphs.setView(window.start, window.end); // of what is there, until what is asked for comes
    this.#busy(true);
    const shown = ({ chosen, ids }) => {
      // What was there before stays until bands can be drawn: grey in between would only flicker.
      if (!loading.signal.aborted && (chosen || first)) {
        this.#recording = recording;
        this.#chosen.set(chosen ?? []);
        this.#draw(ids);
      }
    };
    try {
      await load(this.source, recording, this.#state.tree, this.#chosen.choice, shown, loading.signal);
      await this.#showTable();
      await this.expressions?.load(window, loading.signal);
      if (this.#state.live && !loading.signal.aborted) {
        this.live.start(this.#state.tree, asked);
      }
    } catch (error) {
      if (!isAbort(error)) {
        showMessage(error.message, { tone: 'bad', retry: () => this.refresh() });
      }
    } finally {
      if (this.#loading === loading) {
        this.#busy(false);
      }
    }
  }

  // --- what is shown

  #stateFor(asked, trees) {
    const state = { ...DEFAULT_STATE, ...asked };
    if (!trees.includes(state.tree)) {
      state.tree = trees[0] ?? null;
    }
    if (!this.#growing) {
      state.live = false;
      if (!asked && this.#span) {
        [state.last, state.from, state.to] = [null, ...this.#span];
      }
    }
    return state;
  }

  #range() {
    const { last, from, to } = this.#state;
    if (last === null) {
      return [from, to];
    }
    const end = this.#growing ? this.source.clock() : this.#span[1];
    return [end - last, end];
  }

  /** `entry`: whether the browser's "back" should lead to what was before. */
  #change(changes, entry) {
    this.#state = { ...this.#state, ...changes };
    const hash = writeHash(this.#state);
    if (hash !== location.hash) {
      history[entry ? 'pushState' : 'replaceState'](null, '', hash);
    }
    this.#showControls();
  }

  #showControls() {
    const { last, live } = this.#state;
    for (const button of byId('ranges').querySelectorAll('button[data-seconds]')) {
      button.setAttribute('aria-pressed', String(Number(button.dataset.seconds) === last));
    }
    byId('live').setAttribute('aria-pressed', String(live));
    byId('live').disabled = !this.#growing;
    if (!live) {
      showState(this.#growing ? 'paused' : endOf(this.#run) ? 'ended' : 'no new samples');
    }
  }

  #busy(busy) {
    byId('graphs').setAttribute('aria-busy', String(busy));
    if (busy && this.#state.live) {
      showState('loading');
    }
    this.#showControls();
  }

  #draw(ids = null) {
    const any = this.graphs.draw(this.#recording, this.#chosen.list, ids);
    showMessage(any ? '' : 'There are no samples in this range.');
    showEvents(byId('events'), this.#recording.events, this.#state.at, (t) => this.#choose(t));
    this.graphs.setMoment(this.#state.at);
    this.#showNewest();
  }

  /** The header's numbers: the newest values there are, unless the run is over or what is shown ends earlier. */
  #showNewest() {
    if (!this.#growing || this.#recording.window.end < this.source.clock() - SETTLED_S) {
      showNow(null);
      return;
    }
    const newest = (id) => {
      const cells = this.#recording.cellsOf(id);
      return cells.findLast((value) => !Number.isNaN(value)) ?? NaN;
    };
    showNow({ memory: newest('memory'), cpu: newest('cpu'), processes: newest('processes') });
  }

  /** The table at the chosen moment, else at the end of what is shown. */
  async #showTable() {
    this.#tabling?.abort();
    const { at, tree, live } = this.#state;
    if (at === null && live) {
      return; // the next samples bring it
    }
    const tabling = new AbortController();
    this.#tabling = tabling;
    const { window } = this.#recording;
    const t = at ?? Math.min(window.end, this.#growing ? this.source.clock() : this.#span[1] + 1);
    try {
      const present = await this.source.table(tree, t, tabling.signal);
      if (!tabling.signal.aborted) {
        this.#showRows(rowsAt(present, [...this.#recording.processes.values()], t, this.source.interval), t);
      }
    } catch (error) {
      if (!isAbort(error)) {
        showMessage(error.message, { tone: 'bad', retry: () => this.#showTable() });
      }
    }
  }

  #showRows(rows, t) {
    const there = rows.filter((row) => row.there);
    const sum = (id) => there.reduce((total, row) => total + (row[id] || 0), 0);
    setText(byId('moment'), formatMoment(t));
    const text = there.length ? `${formatProcesses(there.length)} · ${formatBytes(sum('memory'))} · ${formatCpus(sum('cpu'))} CPUs` : 'no processes';
    setText(byId('moment-sums'), text);
    this.table.show(rows);
    if (!this.#state.live) {
      const largest = there.reduce((best, row) => ((row.memory || 0) > (best?.memory || 0) ? row : best), null);
      setText(byId('spoken'), `${formatMoment(t)}: ${text}${largest ? `, most memory: ${largest.name} ${largest.pid}, ${formatBytes(largest.memory)}` : ''}`);
    }
  }

  // --- what somebody chooses

  /** A moment; where a graph's step is longer than a second, the greatest second of that step. */
  async #choose(t) {
    const { step, start, end } = this.#recording.window;
    const ofGraph = cellOf(this.#recording.window, t) * step + start === t;
    const exact = ofGraph ? await greatestSecond(this.source, this.#state.tree, 'memory', t, step).catch(() => t) : t;
    this.#toMoment(Math.min(Math.max(exact, start), end));
  }

  #toMoment(t) {
    const { window } = this.#recording;
    this.live.stop();
    this.#change({ at: t, live: false, last: null, from: window.start, to: window.end }, this.#state.at === null);
    this.graphs.setMoment(t);
    this.expressions?.setMoment(t);
    showEvents(byId('events'), this.#recording.events, t, (other) => this.#choose(other));
    this.#showTable();
  }

  async #toPeak(id) {
    const { window } = this.#recording;
    const cell = greatestCell(this.#recording.cellsOf(id));
    if (cell >= 0) {
      this.#toMoment(await greatestSecond(this.source, this.#state.tree, id, window.start + cell * window.step, window.step));
    }
  }

  #setRange(from, to) {
    const middle = (from + to) / 2;
    const half = Math.max(to - from, LEAST_RANGE_S) / 2;
    const [start, end] = [Math.round(middle - half), Math.round(middle + half)];
    const { at } = this.#state;
    this.#change({ last: null, from: start, to: end, live: false, at: at !== null && (at < start || at > end) ? null : at }, true);
    this.graphs.setMoment(this.#state.at);
    this.refresh();
  }

  #setLast(last) {
    this.#change({ last, from: null, to: null, at: null, live: this.#growing }, true);
    this.graphs.setMoment(null);
    this.refresh();
  }

  #setAll() {
    this.source.span().then(
      (span) => {
        this.#span = span;
        this.#setRange(...span);
      },
      (error) => showMessage(error.message, { tone: 'bad', retry: () => this.#setAll() }),
    );
  }

  /** Draws a process everywhere. */
  async #pin(key) {
    if (this.#recording.processes.has(key) && !this.#chosen.has(key)) {
      await this.#chosen.pin(key, this.source, this.#state.tree, this.#recording);
      this.#draw();
      this.table.recolour();
    }
  }

  #listen() {
    byId('tree').onchange = (event) => {
      this.#change({ tree: event.target.value, at: null }, true);
      this.#recording = null;
      this.refresh();
    };
    byId('ranges').onclick = ({ target }) => target.dataset.seconds && this.#setLast(Number(target.dataset.seconds));
    byId('all').onclick = () => this.#setAll();
    byId('live').onclick = () => this.#actions.live();
    byId('earlier').onclick = () => this.#pan(-0.5);
    byId('later').onclick = () => this.#pan(0.5);
    byId('zoom-out').onclick = () => this.#actions.zoom(2);
    byId('memory-peak').onclick = () => this.#toPeak('memory');
    byId('cpu-peak').onclick = () => this.#toPeak('cpu');
    byId('as-tree').onchange = ({ target }) => this.table.setTree(target.checked);
    addEventListener('popstate', () => this.#fromAddress());
    listenToKeys(Object.fromEntries(Object.entries(this.#actions).map(([name, act]) => [name, (number) => this.#recording && act(number)])));
  }

  /** What keys do; see keys.js. */
  #actions = {
    step: (seconds) => this.#toMoment((this.#state.at ?? this.#recording.window.end) + seconds),
    edge: (end) => this.#toMoment(end ? this.#recording.window.end : this.#recording.window.start),
    live: () => this.#growing && this.#setLast(this.#state.last ?? RANGES.find((seconds) => seconds >= this.#state.to - this.#state.from) ?? DEFAULT_STATE.last),
    peak: (cpu) => this.#toPeak(cpu ? 'cpu' : 'memory'),
    zoom: (factor) => {
      const { start, end } = this.#recording.window;
      const middle = this.#state.at ?? (start + end) / 2;
      this.#setRange(middle - ((end - start) * factor) / 2, middle + ((end - start) * factor) / 2);
    },
    clear: () => {
      this.#change({ at: null }, false);
      this.graphs.setMoment(null);
      this.expressions?.setMoment(null);
      this.#showTable();
    },
  };

  #pan(part) {
    const { start, end } = this.#recording.window;
    const by = (end - start) * part;
    this.#setRange(start + by, end + by);
  }

  /** After "back", or another hash typed in. */
  #fromAddress() {
    const trees = [...byId('tree').options].map(({ value }) => value);
    this.#state = this.#stateFor(readHash(location.hash), trees);
    byId('tree').value = this.#state.tree;
    this.expressions?.set(this.#state.draw);
    this.#showControls();
    this.graphs.setMoment(this.#state.at);
    this.refresh();
  }

  // --- being live

  #took(values, newest) {
    const recording = this.#recording;
    recording.moveTo(newest);
    for (const { line, name, kind, process, t, value } of values) {
      if (line) {
        recording.putLine(line, name, t, value);
      } else {
        recording.putValue(kind, process, t, value);
      }
    }
    const now = this.source.clock();
    const stale = staleness(newest, now, this.source.interval);
    showState(stale || 'live', stale ? 'warn' : 'good');
    const present = recording.currentRows(newest);
    this.#details.refresh(this.source, this.#state.tree, recording, present);
    this.#chosen.update(this.source, this.#state.tree, recording);
    this.#draw();
    const processes = [...recording.processes.values()];
    this.#showRows(rowsAt(this.#details.complete(present), processes, newest, this.source.interval), newest);
    showRun(this.#run, now);
    if (this.#updates++ % DRAWN_EVERY === 0) {
      this.expressions?.load(recording.window);
    }
  }

  #failed(error) {
    showState(error.message, 'bad');
  }
}
