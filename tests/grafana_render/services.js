// What Grafana gives its packages at the start, in as far as a dashboard needs it.

import { DataSourceApi, EventBusSrv, LoadingState, PluginType, toDataFrame } from '@grafana/data';
import { PrometheusDatasource } from '@grafana/prometheus';
import {
  config,
  setAppEvents,
  setBackendSrv,
  setDataSourceSrv,
  setEchoSrv,
  setPluginComponentHook,
  setPluginComponentsHook,
  setPluginImportUtils,
  setPluginLinksHook,
  setRunRequest,
  setTemplateSrv,
} from '@grafana/runtime';
import { sceneGraph } from '@grafana/scenes';
import { catchError, from, map, of, startWith } from 'rxjs';

import { answer } from './ds_query.js';

/** One fetch, with the answer in the form of Grafana's backendSrv; throws what the data source knows as a FetchError. */
async function request({ url, method = 'GET', data, params, headers = {} }) {
  const form = headers['Content-Type'] === 'application/x-www-form-urlencoded';
  const query = params ? `?${new URLSearchParams(params)}` : '';
  const body = data === undefined ? undefined : form ? new URLSearchParams(data).toString() : JSON.stringify(data);
  const type = body === undefined || form ? {} : { 'Content-Type': 'application/json' };
  const answer = await fetch(url + query, { method, headers: { ...type, ...headers }, body });
  const text = await answer.text();
  const found = { status: answer.status, statusText: answer.statusText, ok: answer.ok, config: { url }, data: text };
  try {
    found.data = JSON.parse(text);
  } catch {
    // plain text, as of a 405
  }
  if (!answer.ok) {
    throw found;
  }
  return found;
}

const backendSrv = (settings) => ({
  fetch: (options) =>
    from(options.url.startsWith('/api/ds/query') ? answer(options.data, settings) : request(options)),
  get: async (url, params) => (await request({ url, params })).data,
  post: async (url, data) => (await request({ url, method: 'POST', data })).data,
});

/** Variables are those of the scene that a query or a panel belongs to. */
const templateSrv = {
  replace(text, scopedVars, format) {
    const scene = scopedVars?.__sceneObject?.value?.valueOf() ?? window.__grafanaSceneContext;
    return scene && text ? sceneGraph.interpolate(scene, text, scopedVars, format) : text;
  },
  containsTemplate: (text) => /\$\w|\[\[/.test(text ?? ''),
  getVariables: () => [],
  updateTimeRange: () => {},
};

/** A query's answers, as Grafana's runRequest makes panel data of them; variables bring a function of their own. */
function runRequest(datasource, ask, query) {
  const answers = query ? query(ask) : datasource.query(ask);
  const timeRange = ask.range;
  return (answers instanceof Promise ? from(answers) : answers).pipe(
    map((answer) => ({
      state: answer.error || answer.errors?.length ? LoadingState.Error : answer.state ?? LoadingState.Done,
      series: (answer.data ?? []).map((frame) => (frame.fields || frame.refId ? toDataFrame(frame) : frame)),
      errors: answer.errors ?? (answer.error ? [answer.error] : undefined),
      error: answer.error ?? answer.errors?.[0],
      request: ask,
      timeRange,
    })),
    catchError((error) => of({ state: LoadingState.Error, series: [], error, errors: [error], request: ask, timeRange })),
    startWith({ state: LoadingState.Loading, series: [], request: ask, timeRange })
  );
}

/** Sets all of them. `settings`: the data source's, `plugins`: the panel plugins by id. */
export function start(settings, plugins) {
  setBackendSrv(backendSrv(settings));
  setTemplateSrv(templateSrv);
  setRunRequest(runRequest);
  setAppEvents(new EventBusSrv());
  setEchoSrv({ flush() {}, addBackend() {}, addEvent() {} });
  setPluginLinksHook(() => ({ links: [], isLoading: false }));
  setPluginComponentHook(() => ({ component: null, isLoading: false }));
  setPluginComponentsHook(() => ({ components: [], isLoading: false }));
  setPluginImportUtils({
    importPanelPlugin: async (id) => plugins[id],
    getPanelPluginFromCache: (id) => plugins[id],
  });
  for (const plugin of Object.values(plugins)) {
    config.panels[plugin.meta.id] = plugin.meta;
  }

  const meta = { id: 'prometheus', name: 'Prometheus', type: PluginType.datasource, module: '', baseUrl: '', info: {}, metrics: true };
  const instance = { id: 1, type: 'prometheus', access: 'proxy', meta, readOnly: false, jsonData: {}, ...settings };
  const datasource = new PrometheusDatasource(instance, templateSrv);
  if (!(datasource instanceof DataSourceApi)) {
    throw new Error('two versions of @grafana/data are bundled');
  }
  datasource.meta = meta;
  setDataSourceSrv({
    get: async () => datasource,
    getInstanceSettings: () => instance,
    getList: () => [instance],
  });
  return datasource.init();
}
