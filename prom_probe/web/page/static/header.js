// The top of the page: what is watched, since when, what it uses now, and whether the data is fresh.

import { byId, setText } from './dom.js';
import { formatMoment } from './time.js';
import { formatBytes, formatCpus, formatDuration, formatProcesses } from './units.js';

const STALE_INTERVALS = 5;

/** How a run ended, in words; "" while it goes on. */
export function endOf({ end, exit_status: status, signal }) {
  if (end === null) {
    return '';
  }
  const how = signal ? `, killed by signal ${signal}` : status === null || status === undefined ? '' : ` with status ${status}`;
  return `ended ${formatMoment(end)}${how}`;
}

export function showRun(run, now) {
  const command = run.command?.join(' ') ?? '';
  setText(byId('command'), command || `trees on ${run.host}`);
  byId('command').title = command;
  const since = `${run.host ? `${run.host}, ` : ''}since ${formatMoment(run.start)} (${formatDuration((run.end ?? now) - run.start)})`;
  setText(byId('since'), [since, endOf(run)].filter(Boolean).join(', '));
  document.title = `${command ? `${command.slice(0, 60)} – ` : ''}prom_probe`;
}

/** The newest values of the tree; null where they are not known. */
export function showNow(values) {
  const text = ({ memory, cpu, processes }) => `${formatCpus(cpu)} CPUs · ${formatBytes(memory)} · ${formatProcesses(processes)}`;
  setText(byId('now'), values ? text(values) : '');
}

/** "live", "paused", …; with `tone` "" or a colour of page.css. */
export function showState(text, tone = '') {
  const state = byId('state');
  setText(state, text);
  state.className = tone ? `tone-${tone}` : '';
}

/** Whether the newest sample is so old that somebody should know; `newest` and `now` in seconds. */
export function staleness(newest, now, interval) {
  const age = now - newest;
  return age > Math.max(STALE_INTERVALS * interval, 3) ? `no new samples for ${formatDuration(Math.round(age))}` : '';
}

/** A message over the graphs: an error with a way out, or why there is nothing to see. */
export function showMessage(text, { tone = '', retry = null } = {}) {
  const box = byId('message');
  box.hidden = !text;
  setText(byId('message-text'), text);
  byId('message-text').className = tone ? `tone-${tone}` : '';
  byId('retry').hidden = !retry;
  byId('retry').onclick = retry;
}
