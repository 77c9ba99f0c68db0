// Numbers as people read them: bytes in binary units, CPUs, rates, durations, counts.

const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
const NONE = '–';

/** Three significant digits, as many as an axis or a table's cell has room for. */
function digits(value) {
  const size = Math.abs(value);
  return size >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(size >= 10 ? 1 : 2);
}

export function formatBytes(value) {
  if (!Number.isFinite(value)) {
    return NONE;
  }
  let unit = 0;
  while (Math.abs(value) >= 1023.5 && unit < BINARY.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit ? digits(value) : Math.round(value)} ${BINARY[unit]}`;
}

export function formatByteRate(value) {
  return Number.isFinite(value) ? `${formatBytes(value)}/s` : NONE;
}

/** CPUs, or anything else without a unit of its own. */
export function formatNumber(value) {
  if (!Number.isFinite(value)) {
    return NONE;
  }
  const size = Math.abs(value);
  if (size >= 1e6) {
    return value.toExponential(2);
  }
  return size && size < 0.005 ? value.toPrecision(1) : digits(value);
}

export function formatCpus(value) {
  return Number.isFinite(value) ? value.toFixed(2) : NONE;
}

export function formatProcesses(count) {
  return `${formatCount(count)} ${count === 1 ? 'process' : 'processes'}`;
}

export function formatCount(value) {
  return Number.isFinite(value) ? Math.round(value).toLocaleString('en') : NONE;
}

export function formatPercent(value) {
  return Number.isFinite(value) ? `${(100 * value).toFixed(0)} %` : NONE;
}

const SPANS = [
  ['d', 86400],
  ['h', 3600],
  ['min', 60],
];

/** A duration in its two largest units: 45 s, 3 min 20 s, 2 h 5 min. */
export function formatDuration(seconds) {
  if (!Number.isFinite(seconds)) {
    return NONE;
  }
  if (seconds < 60) {
    return `${seconds < 10 && !Number.isInteger(seconds) ? seconds.toFixed(1) : Math.round(seconds)} s`;
  }
  const whole = Math.round(seconds);
  const at = SPANS.findIndex(([, size]) => whole >= size);
  const [unit, size] = SPANS[at];
  const [smaller, smallerSize] = SPANS[at + 1] ?? ['s', 1];
  const rest = Math.floor((whole % size) / smallerSize);
  return `${Math.floor(whole / size)} ${unit}${rest ? ` ${rest} ${smaller}` : ''}`;
}

/** Distances between an axis's marks that are round in binary units. */
export const BYTE_INCREMENTS = Array.from({ length: 50 }, (_, power) => 2 ** power);

/** The units of panels: how a value reads, and where an axis may have its marks. */
export const UNITS = {
  bytes: { format: formatBytes, increments: BYTE_INCREMENTS },
  byteRate: { format: formatByteRate, increments: BYTE_INCREMENTS },
  cpus: { format: formatCpus },
  count: { format: formatCount },
  ratio: { format: formatPercent },
  number: { format: formatNumber },
};
