// Elements made from text alone: names of processes come from outside and must never be read as HTML.

/**
 * An element with properties, attributes (a name with "-", or "role"), listeners ("onclick", …) and children, which are
 * nodes or text.
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes('-') || name === 'role') {
      element.setAttribute(name, value);
    } else {
      element[name] = value;
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Sets an element's text, and touches nothing where it is the same: a live page sets many each second. */
export function setText(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

/** Options of a select, by value and text. */
export function setOptions(select, pairs, chosen) {
  select.replaceChildren(...pairs.map(([value, text]) => make('option', { value, textContent: text })));
  select.value = chosen;
}

/** A small square in a process's colour; empty where it has none of its own. */
export function swatch(colour) {
  const square = make('span', { className: 'swatch', 'aria-hidden': 'true' });
  colourSwatch(square, colour);
  return square;
}

export function colourSwatch(square, colour) {
  square.style.backgroundColor = colour ?? 'transparent';
  square.classList.toggle('none', !colour);
}
