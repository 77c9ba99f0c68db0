// Light and dark: as the system says, or as the reader has switched it.

const KEY = 'prom_probe.theme';
const dark = matchMedia('(prefers-color-scheme: dark)');

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // a file opened from disk may have no storage
  }
}

function store(theme) {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // it holds until the page is closed
  }
}

function isDark() {
  return (document.documentElement.dataset.theme ?? (dark.matches ? 'dark' : 'light')) === 'dark';
}

/** Applies the stored choice, switches by `button`, and calls `changed` whenever colours are others. */
export function startTheme(button, changed) {
  const chosen = stored();
  if (chosen) {
    document.documentElement.dataset.theme = chosen;
  }
  const label = () => (button.textContent = isDark() ? 'Light' : 'Dark');
  button.onclick = () => {
    const theme = isDark() ? 'light' : 'dark';
    document.documentElement.dataset.theme = theme;
    store(theme);
    label();
    changed();
  };
  dark.addEventListener('change', () => {
    label();
    changed();
  });
  label();
}

/** A colour of page.css, by the name of its custom property without "--". */
export function themeColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
