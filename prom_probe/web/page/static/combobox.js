// The list of completions under the PromQL box: typed text in, a chosen completion back (ARIA's combobox pattern).

import { completionAt, FUNCTIONS, matching } from './completion.js';
import { make } from './dom.js';

export class Completions {
  #names = new Map(); // what was asked for already -> a promise of names
  #shown = [];
  #active = -1;
  #asked = 0;

  /** `source`: see source.js. */
  constructor(input, list, source) {
    this.input = input;
    this.list = list;
    this.source = source;
    input.addEventListener('input', () => this.#suggest());
    input.addEventListener('keydown', (event) => this.#key(event));
    input.addEventListener('blur', () => this.#close());
  }

  async #suggest() {
    const asked = ++this.#asked;
    const place = completionAt(this.input.value, this.input.selectionStart);
    const names = place ? await this.#namesFor(place) : [];
    if (asked !== this.#asked) {
      return; // something else has been typed in the meantime
    }
    this.#show(place ? matching(names, place.word) : [], place);
  }

  async #namesFor({ kind, metric, label }) {
    const key = `${kind} ${metric} ${label}`;
    if (!this.#names.has(key)) {
      const asked = {
        metric: () => this.source.metricNames().then((names) => [...names, ...FUNCTIONS]),
        label: () => this.source.labelNames(metric),
        value: () => this.source.labelValues(label, metric),
      }[kind]();
      this.#names.set(key, asked);
      asked.catch(() => this.#names.delete(key));
    }
    return this.#names.get(key).catch(() => []);
  }

  #show(names, place) {
    this.#shown = names.map((name) => ({ name, place }));
    this.#active = -1;
    this.list.replaceChildren(...names.map((name, index) =>
      make('li', {
        id: `completion-${index}`, role: 'option', textContent: name, 'aria-selected': 'false',
        onpointerdown: (event) => {
          event.preventDefault(); // the box keeps the focus
          this.#take(index);
        },
      })));
    this.list.hidden = !names.length;
    this.input.setAttribute('aria-expanded', String(names.length > 0));
    this.input.removeAttribute('aria-activedescendant');
  }

  #close() {
    this.#asked++;
    this.#show([], null);
  }

  #key(event) {
    const count = this.#shown.length;
    if (!count) {
      return;
    }
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      this.#activate((this.#active + (event.key === 'ArrowDown' ? 1 : count + (this.#active < 0 ? 0 : -1))) % count);
    } else if (event.key === 'Tab' || (event.key === 'Enter' && this.#active >= 0)) {
      this.#take(Math.max(0, this.#active));
    } else if (event.key === 'Escape') {
      this.#close();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  #activate(index) {
    this.#active = index;
    [...this.list.children].forEach((option, at) => option.setAttribute('aria-selected', String(at === index)));
    this.list.children[index].scrollIntoView({ block: 'nearest' });
    this.input.setAttribute('aria-activedescendant', `completion-${index}`);
  }

  #take(index) {
    const { name, place } = this.#shown[index];
    const { value, selectionStart } = this.input;
    const text = place.kind === 'value' ? name.replace(/[\\"]/g, '\\$&') : name;
    this.input.value = value.slice(0, place.from) + text + value.slice(selectionStart);
    this.input.setSelectionRange(place.from + text.length, place.from + text.length);
    this.#close();
  }
}
