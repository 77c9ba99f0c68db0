// A scene of one of our dashboards: what Grafana itself makes of a dashboard's JSON.

import {
  DataSourceVariable,
  SceneDataLayerSet,
  TextBoxVariable,
  dataLayers,
  EmbeddedScene,
  QueryVariable,
  SceneControlsSpacer,
  SceneDataTransformer,
  SceneGridItem,
  SceneGridLayout,
  SceneGridRow,
  SceneQueryRunner,
  SceneTimePicker,
  SceneTimeRange,
  SceneVariableSet,
  VariableValueSelectors,
  VizPanel,
} from '@grafana/scenes';

import { DEFAULTS } from './plugins.jsx';

const grid = (pos) => ({ x: pos.x, y: pos.y, width: pos.w, height: pos.h });

function variable(model, uid) {
  const common = { name: model.name, label: model.label };
  if (model.type === 'datasource') {
    return new DataSourceVariable({ ...common, pluginId: model.query, value: uid });
  }
  if (model.type === 'textbox') {
    return new TextBoxVariable({ ...common, value: model.query });
  }
  return new QueryVariable({
    ...common,
    datasource: model.datasource,
    query: model.query,
    regex: model.regex ?? '',
    refresh: model.refresh,
    sort: model.sort,
    isMulti: model.multi,
    includeAll: model.includeAll,
    allValue: model.allValue,
    defaultToAll: true,
  });
}

function panel(model) {
  const $data = new SceneQueryRunner({ datasource: model.datasource, queries: model.targets, maxDataPoints: model.maxDataPoints });
  return new VizPanel({
    key: `panel-${model.id}`,
    title: model.title,
    description: model.description,
    pluginId: model.type,
    options: { ...DEFAULTS[model.type], ...model.options },
    fieldConfig: model.fieldConfig,
    $data: new SceneDataTransformer({ $data, transformations: model.transformations ?? [] }),
  });
}

/** The dashboard's rows of panels; of some panels alone, those without a gap between them. */
function children(models, wanted) {
  if (wanted) {
    const shown = models.filter(({ title, type }) => type !== 'row' && wanted.includes(title));
    let [from, top, bottom] = [-1, 0, 0];
    return shown.map((model) => {
      if (model.gridPos.y !== from) {
        [from, top] = [model.gridPos.y, bottom];
      }
      bottom = Math.max(bottom, top + model.gridPos.h);
      return new SceneGridItem({ ...grid({ ...model.gridPos, y: top }), body: panel(model) });
    });
  }
  const rows = [];
  for (const model of models) {
    if (model.type === 'row') {
      rows.push(new SceneGridRow({ key: `row-${model.id}`, title: model.title, y: model.gridPos.y, isCollapsed: false, children: [] }));
    } else {
      const row = rows.at(-1);
      row.setState({ children: [...row.state.children, new SceneGridItem({ ...grid(model.gridPos), body: panel(model) })] });
    }
  }
  return rows;
}

/** All annotations, also those that are switched off at first. */
function layer(model) {
  return new dataLayers.AnnotationsDataLayer({ name: model.name, isEnabled: true, query: { ...model, enable: true } });
}

/** `range`: {from, to}; `wanted`: the panels' titles, or none for all of them. */
export function sceneOf(dashboard, uid, range, wanted) {
  return new EmbeddedScene({
    $timeRange: new SceneTimeRange(range),
    $data: new SceneDataLayerSet({ layers: dashboard.annotations.list.map(layer) }),
    $variables: new SceneVariableSet({ variables: dashboard.templating.list.map((model) => variable(model, uid)) }),
    controls: [new VariableValueSelectors({}), new SceneControlsSpacer(), new SceneTimePicker({})],
    body: new SceneGridLayout({ children: children(dashboard.panels, wanted), isDraggable: false, isResizable: false }),
  });
}
