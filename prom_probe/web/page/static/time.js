// Moments as people read them: the reader's local time, with its offset from UTC.

const two = (number) => String(number).padStart(2, '0');

/** +01:00, or UTC where there is no difference; `seconds` is Unix time, as everywhere here. */
export function formatOffset(seconds) {
  const minutes = -new Date(seconds * 1000).getTimezoneOffset();
  if (!minutes) {
    return 'UTC';
  }
  const size = Math.abs(minutes);
  return `${minutes < 0 ? '−' : '+'}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}

/** 14:03:07, or 14:03 */
export function formatClock(seconds, withSeconds = true) {
  const date = new Date(seconds * 1000);
  return `${two(date.getHours())}:${two(date.getMinutes())}${withSeconds ? `:${two(date.getSeconds())}` : ''}`;
}

export function formatDay(seconds) {
  const date = new Date(seconds * 1000);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** 14:03:07 +01:00, with the day where that is not `today`'s. */
export function formatMoment(seconds, today = Date.now() / 1000) {
  const day = formatDay(seconds);
  return `${day === formatDay(today) ? '' : `${day} `}${formatClock(seconds)} ${formatOffset(seconds)}`;
}

/** The labels of a time axis: seconds only where marks are closer than a minute, the day where it changes. */
export function formatAxisTimes(splits) {
  const closest = splits.length > 1 ? splits[1] - splits[0] : 60;
  return splits.map((at, index) => {
    const clock = formatClock(at, closest < 60);
    const changed = index > 0 && formatDay(at) !== formatDay(splits[index - 1]);
    return changed ? `${clock}\n${formatDay(at)}` : clock;
  });
}
