// What happened: the types of events, how each is marked on the axis, and the list beside the table.

import { make } from './dom.js';
import { shortCommand } from './processes.js';
import { formatClock } from './time.js';

/** `tone`: a colour of page.css; `line`: a line over the whole graph, not only a mark at its foot. */
export const EVENT_TYPES = {
  oom_kill: { label: 'OOM kill', tone: 'bad', line: true },
  gap: { label: 'gap', tone: 'warn', line: true },
  worker_restart: { label: 'worker restarted', tone: 'warn', line: false },
  throttled: { label: 'throttled', tone: 'warn', line: false },
  exec: { label: 'exec', tone: 'dim', line: false },
  process_start: { label: 'start', tone: 'dim', line: false },
  process_end: { label: 'end', tone: 'dim', line: false },
};

const UNKNOWN = { label: 'event', tone: 'dim', line: false };
const MOST_MARKS = 300; // more of what is common would be a bar, not marks
const MOST_LISTED = 40;

export function eventType(event) {
  return EVENT_TYPES[event.type] ?? UNKNOWN;
}

/** Those to be marked on an axis: the rare ones, and the common ones unless they are too many. */
export function marksOf(events) {
  const rare = events.filter((event) => eventType(event).tone !== 'dim');
  return events.length - rare.length > MOST_MARKS ? rare : events;
}

/** Those nearest to a moment, in order; the newest ones where there is none. */
export function eventsNear(events, moment) {
  if (moment === null) {
    return events.slice(-MOST_LISTED);
  }
  const distance = (event) => Math.abs(event.t - moment);
  return [...events].sort((one, other) => distance(one) - distance(other)).slice(0, MOST_LISTED).sort((one, other) => one.t - other.t);
}

/** Fills `list` with buttons that lead to each event's time. */
export function showEvents(list, events, moment, choose) {
  list.replaceChildren(
    ...eventsNear(events, moment).map((event) => {
      const { label, tone } = eventType(event);
      const button = make(
        'button',
        { type: 'button', className: 'event', onclick: () => choose(event.t) },
        make('time', { textContent: formatClock(event.t) }),
        make('span', { className: `tone-${tone}`, textContent: label }),
        make('span', { className: 'text', textContent: `${event.pid ?? ''} ${shortCommand(event.text)}`.trim(), title: event.text }),
      );
      button.classList.toggle('near', moment !== null && Math.abs(event.t - moment) <= 1);
      return make('li', {}, button);
    }),
  );
  if (!events.length) {
    list.append(make('li', { className: 'dim', textContent: 'Nothing happened in this range.' }));
  }
}
