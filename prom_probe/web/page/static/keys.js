// The keyboard: one key, one action.

/** Key (with "Shift+" where held) -> [action, number]. */
export const KEYS = {
  ArrowLeft: ['step', -1],
  ArrowRight: ['step', 1],
  'Shift+ArrowLeft': ['step', -10],
  'Shift+ArrowRight': ['step', 10],
  Home: ['edge', 0],
  End: ['edge', 1],
  l: ['live', 0],
  m: ['peak', 0],
  c: ['peak', 1],
  '+': ['zoom', 0.5],
  '-': ['zoom', 2],
  Escape: ['clear', 0],
};

const TYPED_INTO = 'input, select, textarea, [contenteditable]';

/** Calls `actions[name](number)` for each key that has one, unless somebody is typing. */
export function listenToKeys(actions) {
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.(TYPED_INTO)) {
      return;
    }
    const arrow = event.key.length > 1;
    const [action, number] = KEYS[`${event.shiftKey && arrow ? 'Shift+' : ''}${event.key}`] ?? [];
    if (action) {
      event.preventDefault();
      actions[action](number);
    }
  });
}
