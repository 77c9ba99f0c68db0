// What can be completed at a place of a PromQL expression: a metric or function, a label's name, or a label's value.

export const FUNCTIONS = (
  'abs absent absent_over_time avg avg_over_time bottomk ceil changes clamp clamp_max clamp_min count count_over_time ' +
  'count_values delta deriv exp floor group histogram_quantile idelta increase irate label_join label_replace last_over_time ' +
  'ln log10 log2 max max_over_time min min_over_time predict_linear quantile quantile_over_time rate resets round scalar sgn ' +
  'sort sort_desc sqrt stddev stddev_over_time sum sum_over_time time timestamp topk vector'
).split(' ');

const WORD = /[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const INSIDE = /([a-zA-Z_:][a-zA-Z0-9_:]*)?\s*\{([^{}]*)$/; // of a selector's braces
const VALUE = /([a-zA-Z_][a-zA-Z0-9_]*)\s*(?:=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)$/;
const GROUPING = /\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)$/;

/** {kind: "metric" | "label" | "value", word, from, metric, label}; null where nothing can be completed. */
export function completionAt(text, cursor) {
  const before = text.slice(0, cursor);
  const inside = INSIDE.exec(before);
  if (inside) {
    const [, metric = null, matchers] = inside;
    const value = VALUE.exec(matchers);
    if (value) {
      return { kind: 'value', word: value[2], from: cursor - value[2].length, metric, label: value[1] };
    }
    const word = WORD.exec(matchers)?.[0] ?? '';
    return /(^|,)\s*$/.test(matchers.slice(0, matchers.length - word.length))
      ? { kind: 'label', word, from: cursor - word.length, metric, label: null }
      : null;
  }
  if ((before.match(/"/g)?.length ?? 0) % 2) {
    return null; // within a string
  }
  const word = WORD.exec(before)?.[0] ?? '';
  if (GROUPING.test(before)) {
    return { kind: 'label', word, from: cursor - word.length, metric: null, label: null };
  }
  return word ? { kind: 'metric', word, from: cursor - word.length, metric: null, label: null } : null;
}

/** The best of `names` for what has been typed: those that begin with it first, then those that contain it. */
export function matching(names, word, most = 12) {
  const typed = word.toLowerCase();
  const rank = (name) => (name.toLowerCase().startsWith(typed) ? 0 : name.toLowerCase().includes(typed) ? 1 : 2);
  return names
    .filter((name) => name !== word && rank(name) < 2)
    .sort((one, other) => rank(one) - rank(other) || one.localeCompare(other))
    .slice(0, most);
}
