// The stand-in for Grafana's back end at /api/ds/query: from a query of the data source's to the answer's frames.
//
// Intervals as grafana/pkg/promlib computes them; everything else of a query has been done by @grafana/prometheus.

import { rangeUtil } from '@grafana/data';

const MOST_POINTS = 11_000; // what a Prometheus gives of one series
const seconds = (ms) => `${ms / 1000}s`;

/** Step and $__rate_interval of a query, in milliseconds. */
export function intervals(span_ms, points, scrape_ms) {
  const step = Math.max(
    rangeUtil.roundInterval(span_ms / points),
    scrape_ms,
    rangeUtil.roundInterval(span_ms / MOST_POINTS)
  );
  return { step, rate: Math.max(step + scrape_ms, 4 * scrape_ms) };
}

function nameOf(metric, query) {
  if (query.legendFormat) {
    return query.legendFormat.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, label) => metric[label] ?? '');
  }
  const { __name__: name = '', ...labels } = metric;
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return name || pairs.length ? `${name}{${pairs.join(', ')}}` : query.expr;
}

function frameOf(series, type, query) {
  const { __name__: name = 'Value', ...labels } = series.metric ?? {};
  const points = series.values ?? [series.value];
  return {
    schema: {
      refId: query.refId,
      meta: {
        type: 'timeseries-multi',
        typeVersion: [0, 1],
        custom: { resultType: type },
        executedQueryString: `Expr: ${query.expr}\nStep: ${seconds(query.intervalMs)}`, // by it annotations become regions
      },
      fields: [
        { name: 'Time', type: 'time', typeInfo: { frame: 'time.Time' }, config: { interval: query.intervalMs } },
        {
          name: query.format === 'table' ? name : 'Value',
          type: 'number',
          typeInfo: { frame: 'float64' },
          labels: series.metric,
          config: { displayNameFromDS: nameOf(series.metric ?? {}, query) },
        },
      ],
    },
    data: { values: [points.map(([at]) => at * 1000), points.map(([, value]) => Number(value.replace('Inf', 'Infinity')))] },
  };
}

async function one(query, from_ms, to_ms, settings) {
  const scrape_ms = rangeUtil.intervalToMs(settings.jsonData.timeInterval);
  const { step, rate } = intervals(to_ms - from_ms, query.maxDataPoints, scrape_ms);
  const expr = query.expr
    .replaceAll('$__rate_interval', seconds(rate))
    .replaceAll('$__interval', seconds(step))
    .replaceAll('$__range', seconds(to_ms - from_ms));
  const align = (ms) => (Math.floor(ms / step) * step) / 1000;
  const [path, form] = query.instant
    ? ['query', { query: expr, time: to_ms / 1000 }]
    : ['query_range', { query: expr, start: align(from_ms), end: align(to_ms), step: step / 1000 }];
  const url = `/api/datasources/uid/${settings.uid}/resources/api/v1/${path}`;
  const answer = await fetch(url, { method: 'POST', body: new URLSearchParams(form) });
  const { status, data, error } = await answer.json();
  if (status !== 'success') {
    return { status: answer.status, error, frames: [] };
  }
  return { status: 200, frames: data.result.map((series) => frameOf(series, data.resultType, { ...query, intervalMs: step })) };
}

/** `body`: {queries, from, to}. */
export async function answer(body, settings) {
  const results = {};
  await Promise.all(
    body.queries.map(async (query) => {
      results[query.refId] = await one(query, Number(body.from), Number(body.to), settings);
    })
  );
  return { status: 200, statusText: 'OK', ok: true, data: { results } };
}
