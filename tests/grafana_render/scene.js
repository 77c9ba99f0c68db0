// A scene of one of our dashboards: what Grafana itself makes of a dashboard's JSON.

import {
  DataSourceVariable,
  EmbeddedScene,
  QueryVariable,
  SceneControlsSpacer,
  SceneDataTransformer,
  SceneGridItem,
  SceneGridLayout,
  SceneGridRow,
  SceneQueryRunner,
  SceneRefreshPicker,
  SceneTimePicker,
  SceneTimeRange,
  SceneVariableSet,
  VariableValueSelectors,
  VizPanel,
} from '@grafana/scenes';

import { DEFAULTS } from './plugins.jsx';

const GRID = (pos) => ({ x: pos.x, y: pos.y, width: pos.w, height: pos.h });

function variable(model, uid) {
  const common = { name: model.name, label: model.label };
  if (model.type === 'datasource') {
    return new DataSourceVariable({ ...common, pluginId: model.query, value: uid });
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

/** `range`: {from, to}; `wanted`: the panels' titles, or none for all of them. */
export function sceneOf(dashboard, uid, range, wanted) {
  const children = [];
  let y = 0;
  for (const model of dashboard.panels) {
    if (model.type === 'row') {
      if (!wanted) {
        children.push(new SceneGridRow({ key: `row-${model.title}`, title: model.title, y: model.gridPos.y, isCollapsed: false, children: [] }));
      }
    } else if (!wanted || wanted.includes(model.title)) {
      const item = new SceneGridItem({ ...GRID(model.gridPos), body: panel(model) });
      const row = children.at(-1);
      if (row instanceof SceneGridRow) {
        row.setState({ children: [...row.state.children, item] });
      } else {
        children.push(item);
      }
      y = Math.max(y, model.gridPos.y + model.gridPos.h);
    }
  }
  return new EmbeddedScene({
    $timeRange: new SceneTimeRange(range),
    $variables: new SceneVariableSet({ variables: dashboard.templating.list.map((model) => variable(model, uid)) }),
    controls: [new VariableValueSelectors({}), new SceneControlsSpacer(), new SceneTimePicker({}), new SceneRefreshPicker({})],
    body: new SceneGridLayout({ children, isDraggable: false, isResizable: false }),
  });
}
