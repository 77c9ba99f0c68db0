// The part of the address after #: tree, range, moment and drawn expressions, so that a link shows the same.

/** What is shown where the address says nothing. `last`: the newest seconds; null where from and to are given. */
export const DEFAULT_STATE = { tree: null, last: 300, from: null, to: null, at: null, live: true, draw: [] };

const number = (text) => (text !== null && text !== '' && Number.isFinite(Number(text)) ? Number(text) : null);

/** The state that a hash describes; null where it describes none. What cannot be read is left out. */
export function readHash(hash) {
  const found = new URLSearchParams(hash.replace(/^#/, ''));
  if (![...found.keys()].length) {
    return null;
  }
  const [from, to] = [number(found.get('from')), number(found.get('to'))];
  const fixed = from !== null && to !== null && from < to;
  const last = number(found.get('last'));
  return {
    tree: found.get('tree'),
    last: fixed ? null : last !== null && last > 0 ? last : DEFAULT_STATE.last,
    from: fixed ? from : null,
    to: fixed ? to : null,
    at: number(found.get('at')),
    live: !fixed && found.get('live') !== '0' && !found.has('at'),
    draw: found.getAll('draw').filter(Boolean),
  };
}

const short = (seconds) => String(Math.round(seconds * 1000) / 1000);

export function writeHash({ tree, last, from, to, at, live, draw }) {
  const pairs = [];
  if (tree !== null) {
    pairs.push(['tree', tree]);
  }
  if (last === null) {
    pairs.push(['from', short(from)], ['to', short(to)]);
  } else {
    pairs.push(['last', short(last)], ['live', live ? '1' : '0']);
  }
  if (at !== null) {
    pairs.push(['at', short(at)]);
  }
  return `#${new URLSearchParams([...pairs, ...draw.map((expression) => ['draw', expression])])}`;
}
