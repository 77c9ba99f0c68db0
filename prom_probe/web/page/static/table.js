// The table of processes at one moment: the graphs' text, and the answer to "which process was it?".

import { colourSwatch, make, setText, swatch } from './dom.js';
import { shortCommand } from './processes.js';
import { arrange, COLUMNS } from './rows.js';
import { formatByteRate, formatBytes, formatCount, formatCpus, formatDuration } from './units.js';

const MOST_ROWS = 200; // more is of no use to read, and slow each second
const INDENT_EM = 0.9;
const WHOLE_END = 14; // characters at a command line's end that are never cut: they often tell processes apart

const CELLS = {
  memory: (row) => (row.there ? formatBytes(row.memory) : Number.isFinite(row.peak) ? `peak ${formatBytes(row.peak)}` : '–'),
  cpu: (row) => formatCpus(row.cpu),
  pid: (row) => String(row.pid),
  parent: (row) => (row.parent === null ? '–' : String(row.parent)),
  read: (row) => formatByteRate(row.read),
  write: (row) => formatByteRate(row.write),
  threads: (row) => formatCount(row.threads),
  age: (row) => formatDuration(row.age),
};

const NOTES = {
  started: ({ noteSeconds }) => `started ${formatDuration(noteSeconds)} ago`,
  ended: ({ noteSeconds, how }) => `${how || 'ended'} ${formatDuration(noteSeconds)} ago`,
  'to come': ({ noteSeconds }) => `starts in ${formatDuration(noteSeconds)}`,
};

export class ProcessTable {
  #order = { by: 'memory', up: false, tree: false };
  #rows = [];
  #elements = new Map(); // key of a process -> its row's elements

  /** `host`: the table; `more`: where it is said that rows are left out; `pin`: called with a process's key. */
  constructor(host, more, { colourOf, pin }) {
    this.more = more;
    this.colourOf = colourOf;
    this.pin = pin;
    this.heads = COLUMNS.map((column) => this.#head(column));
    this.body = make('tbody');
    host.append(make('thead', {}, make('tr', {}, ...this.heads)), this.body);
    this.#showOrder();
  }

  /** As a tree of parents and children, or flat. */
  setTree(tree) {
    this.#order.tree = tree;
    this.show(this.#rows);
  }

  /** After processes were given other colours. */
  recolour() {
    this.show(this.#rows);
  }

  /** Shows rows as rows.js gives them. Rows that stay keep their elements, and with them the focus. */
  show(rows) {
    this.#rows = rows;
    const arranged = arrange(rows, this.#order);
    const shown = arranged.slice(0, MOST_ROWS);
    setText(this.more, arranged.length > shown.length ? `${arranged.length - shown.length} more, which sort below these` : '');
    const kept = new Map();
    shown.forEach((row) => {
      const elements = this.#elements.get(row.key) ?? this.#create(row);
      kept.set(row.key, elements);
      this.#update(elements, row);
    });
    this.#elements = kept;
    const wanted = [...kept.values()].map(({ line }) => line);
    if (wanted.length !== this.body.children.length || wanted.some((line, index) => this.body.children[index] !== line)) {
      const focused = document.activeElement;
      this.body.replaceChildren(...wanted);
      if (this.body.contains(focused)) {
        focused.focus({ preventScroll: true });
      }
    }
  }

  #head(column) {
    const button = make('button', { type: 'button', textContent: column.title, onclick: () => this.#sortBy(column) });
    return make('th', { scope: 'col', className: column.text ? 'text' : 'number' }, button);
  }

  #sortBy({ id, text, up }) {
    const again = this.#order.by === id;
    this.#order = { ...this.#order, by: id, up: again ? !this.#order.up : Boolean(text || up) };
    this.#showOrder();
    this.show(this.#rows);
  }

  #showOrder() {
    const { by, up } = this.#order;
    COLUMNS.forEach(({ id }, index) => {
      this.heads[index].setAttribute('aria-sort', id !== by ? 'none' : up ? 'ascending' : 'descending');
    });
  }

  #create(row) {
    const parts = { swatch: swatch(), name: make('span', { className: 'name' }), note: make('span', { className: 'note' }), command: make('span', { className: 'command' }) };
    const button = make('button', { type: 'button', title: 'Draw this process in the graphs', onclick: () => this.pin(row.key) }, parts.swatch, parts.name);
    parts.command.append(make('span', { className: 'cut' }), make('span'));
    const first = make('th', { scope: 'row', className: 'text' }, button, parts.note, parts.command);
    const cells = COLUMNS.slice(1).map(({ id }) => [id, make('td', { className: `number ${id}` })]);
    const line = make('tr', {}, first, ...cells.map(([, cell]) => cell));
    line.dataset.pid = row.pid;
    return { line, first, cells, ...parts };
  }

  #update(elements, row) {
    colourSwatch(elements.swatch, this.colourOf(row.key));
    setText(elements.name, row.name);
    setText(elements.note, row.note ? NOTES[row.note](row) : '');
    const command = row.commandLine && row.commandLine !== row.name ? row.commandLine : '';
    const shown = shortCommand(command);
    setText(elements.command.firstChild, shown.slice(0, -WHOLE_END));
    setText(elements.command.lastChild, shown.slice(-WHOLE_END));
    elements.command.title = command;
    elements.first.style.paddingLeft = row.depth ? `${row.depth * INDENT_EM}em` : '';
    elements.line.classList.toggle('gone', !row.there);
    for (const [id, cell] of elements.cells) {
      setText(cell, CELLS[id](row));
    }
  }
}
