// PromQL of the reader's own: its value at the chosen moment as a table, and graphs of expressions over the range.

import { Chart } from './chart.js';
import { Completions } from './combobox.js';
import { byId, make, setOptions, setText, swatch } from './dom.js';
import { COLOURS } from './panels.js';
import { UNITS } from './units.js';
import { cellsFrom, greatestCell, parseValue } from './window.js';

const MOST_SERIES = 30; // more cannot be told apart
const MOST_RESULTS = 100;

/** A series' labels as PromQL writes them; its name alone where it has no others. */
export function seriesName({ __name__: name = '', ...labels }) {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}=${JSON.stringify(value)}`);
  return pairs.length ? `${name}{${pairs.join(', ')}}` : name || '{}';
}

/** The unit of UNITS that an expression's name tells of. */
export function unitOf(expression) {
  const rate = /\b(i?rate|deriv)\s*\(/.test(expression);
  if (/_bytes(_total)?\b/.test(expression)) {
    return rate ? 'byteRate' : 'bytes';
  }
  return /_ratio\b/.test(expression) && !rate ? 'ratio' : 'number';
}

/** A result of the API's as [[name, value], …]. */
export function resultRows({ resultType, result }) {
  if (resultType === 'scalar' || resultType === 'string') {
    return [['', result[1]]];
  }
  return result.map(({ metric, value, values }) => [seriesName(metric), (value ?? values.at(-1))[1]]);
}

export class Expressions {
  #drawn = new Map(); // expression -> {section, chart, note}
  #window = null;

  /** `host`: where graphs go. `moment`: gives the time to ask for. `changed`: called with the drawn expressions. */
  constructor(source, host, on, { moment, changed }) {
    this.source = source;
    this.host = host;
    this.on = on;
    this.moment = moment;
    this.changed = changed;
    this.input = byId('expression');
    this.error = byId('expression-error');
    new Completions(this.input, byId('completions'), source);
    byId('expression-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#evaluate();
    });
    byId('draw-expression').onclick = () => this.input.value.trim() && this.set([...this.#drawn.keys(), this.input.value.trim()]);
    byId('own-metrics').onchange = (event) => this.#drawMetric(event.target);
    new ResizeObserver(() => this.#drawn.forEach(({ chart }) => chart.resize())).observe(host);
  }

  /** Offers the application's scraped metrics. */
  async offerMetrics() {
    const names = (await this.source.metricNames('{job!="",instance!=""}')).filter((name) => !name.startsWith('scrape_'));
    byId('own-metrics-label').hidden = !names.length;
    setOptions(byId('own-metrics'), [['', 'choose one'], ...names.map((name) => [name, name])], '');
  }

  async #drawMetric(select) {
    const metric = select.value;
    if (metric) {
      const { type } = await this.source.metadata(metric);
      select.value = '';
      this.set([...this.#drawn.keys(), type === 'counter' ? `rate(${metric}[5s])` : metric]);
    }
  }

  /** Draws exactly these expressions. */
  set(expressions) {
    const wanted = [...new Set(expressions)];
    for (const [expression, { section }] of this.#drawn) {
      if (!wanted.includes(expression)) {
        section.remove();
        this.#drawn.delete(expression);
      }
    }
    const added = wanted.filter((expression) => !this.#drawn.has(expression));
    added.forEach((expression) => this.#add(expression));
    this.changed(wanted);
    if (this.#window) {
      added.forEach((expression) => this.#load(expression, this.#window));
    }
  }

  /** Asks anew for all that is drawn. */
  async load(window, signal) {
    this.#window = window;
    await Promise.all([...this.#drawn.keys()].map((expression) => this.#load(expression, window, signal)));
  }

  setMoment(t) {
    this.#drawn.forEach(({ chart }) => chart.setMoment(t));
  }

  recolour() {
    this.#drawn.forEach(({ chart }) => chart.recolour());
  }

  #add(expression) {
    const note = make('p', { className: 'readout' });
    const plot = make('div', { className: 'plot' });
    const remove = make('button', { type: 'button', textContent: 'Remove', 'aria-label': `Remove the graph of ${expression}` });
    remove.onclick = () => this.set([...this.#drawn.keys()].filter((each) => each !== expression));
    const section = make('section', { className: 'panel' }, make('h2', {}, make('code', { textContent: expression })), remove, note, plot);
    this.host.append(section);
    const chart = new Chart(plot, { unit: unitOf(expression) }, { ...this.on, hover: () => {} });
    this.#drawn.set(expression, { section, chart, note });
  }

  async #load(expression, window, signal) {
    const { chart, note } = this.#drawn.get(expression);
    try {
      const { result } = await this.source.queryRange(expression, window, signal);
      const lines = result.slice(0, MOST_SERIES).map(({ metric, values }, index) => ({
        label: seriesName(metric), colour: COLOURS[index % COLOURS.length], cells: cellsFrom(window, values), dashed: false,
      }));
      chart.draw(window, [], null, lines, []);
      chart.setMoment(this.moment());
      const { format } = UNITS[unitOf(expression)];
      const keys = lines.map(({ label, colour, cells }) =>
        make('span', { className: 'key' }, swatch(colour), `${label} at most ${format(cells[greatestCell(cells)])}`));
      const left = result.length - lines.length;
      note.replaceChildren(...(keys.length ? keys : ['no data in this range']), left > 0 ? ` and ${left} more series` : '');
    } catch (error) {
      if (error.name !== 'AbortError') {
        note.replaceChildren(make('span', { className: 'tone-bad', textContent: error.message }));
      }
    }
  }

  async #evaluate() {
    const expression = this.input.value.trim();
    const body = byId('expression-result');
    setText(this.error, '');
    if (!expression) {
      body.replaceChildren();
      return;
    }
    try {
      const rows = resultRows(await this.source.query(expression, this.moment() ?? this.source.clock()));
      const { format } = UNITS[unitOf(expression)];
      const shown = rows.slice(0, MOST_RESULTS).map(([name, value]) =>
        make('tr', {}, make('th', { scope: 'row', className: 'text', textContent: name }), make('td', { className: 'number', textContent: format(parseValue(value)), title: value })));
      const left = rows.length - shown.length;
      const note = !rows.length ? 'no data at this moment' : left > 0 ? `${left} more` : '';
      body.replaceChildren(...shown, ...(note ? [make('tr', {}, make('td', { colSpan: 2, className: 'dim', textContent: note }))] : []));
    } catch (error) {
      body.replaceChildren();
      setText(this.error, error.message);
    }
  }
}
