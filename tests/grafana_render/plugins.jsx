// The three panel kinds of our dashboards, made of @grafana/ui's components: Grafana's own plugins are not in npm.

import {
  FieldColorModeId,
  FieldType,
  PanelPlugin,
  PluginType,
  ReducerID,
  applyNullInsertThreshold,
  getFieldDisplayValues,
  identityOverrideProcessor,
} from '@grafana/data';
import { config } from '@grafana/runtime';
import { GraphGradientMode, LegendDisplayMode, VisibilityMode } from '@grafana/schema';
import { BigValue, Table, TimeSeries, VizRepeater } from '@grafana/ui';
import React from 'react';

/** What Grafana shows where there is nothing to draw. */
function Empty({ fieldConfig }) {
  const text = fieldConfig.defaults.noValue ?? 'No data';
  return (
    <div className="panel-empty" style={{ height: '100%', display: 'grid', placeItems: 'center', opacity: 0.7, textAlign: 'center' }}>
      {text}
    </div>
  );
}

function Graph({ data, timeRange, timeZone, width, height, options, fieldConfig }) {
  const [refFieldPseudoMin, refFieldPseudoMax] = [timeRange.from.valueOf(), timeRange.to.valueOf()];
  const frames = data.series
    .filter((frame) => frame.length && frame.fields.some((field) => field.type === FieldType.number))
    .map((frame) => applyNullInsertThreshold({ frame, refFieldPseudoMin, refFieldPseudoMax }));
  if (!frames.length) {
    return <Empty fieldConfig={fieldConfig} />;
  }
  return (
    <TimeSeries
      frames={frames}
      structureRev={data.structureRev}
      timeRange={timeRange}
      timeZone={timeZone}
      width={width}
      height={height}
      legend={options.legend}
      options={options}
    >
      {(builder) => <Marks builder={builder} annotations={data.annotations ?? []} />}
    </TimeSeries>
  );
}

/** Annotations as dashed lines over the plot, as Grafana's own panel has them. */
function Marks({ builder, annotations }) {
  const marks = React.useRef([]);
  marks.current = annotations.flatMap((frame) => {
    const [times, colours] = ['time', 'color'].map((name) => frame.fields.find((field) => field.name === name)?.values ?? []);
    return times.map((time, at) => [time, colours[at]]);
  });
  React.useLayoutEffect(() => {
    builder.addHook('draw', ({ ctx, bbox, valToPos }) => {
      ctx.save();
      ctx.setLineDash([5, 5]);
      for (const [time, colour] of marks.current) {
        const x = valToPos(time, 'x', true);
        if (x >= bbox.left && x <= bbox.left + bbox.width) {
          ctx.strokeStyle = config.theme2.visualization.getColorByName(colour);
          ctx.beginPath();
          ctx.moveTo(x, bbox.top);
          ctx.lineTo(x, bbox.top + bbox.height);
          ctx.stroke();
        }
      }
      ctx.restore();
    });
  }, [builder]);
  return null;
}

function Stat({ data, width, height, options, fieldConfig, replaceVariables, timeZone }) {
  const values = getFieldDisplayValues({
    fieldConfig,
    reduceOptions: options.reduceOptions,
    replaceVariables,
    theme: config.theme2,
    data: data.series,
    sparkline: options.graphMode !== 'none',
    timeZone,
  });
  if (!data.series.length) {
    return <Empty fieldConfig={fieldConfig} />;
  }
  return (
    <VizRepeater
      source={values}
      getValues={() => values}
      width={width}
      height={height}
      orientation="auto"
      renderValue={({ value, width, height }) => (
        <BigValue
          value={value.display}
          sparkline={value.sparkline}
          colorMode={options.colorMode}
          graphMode={options.graphMode}
          justifyMode="auto"
          textMode="value"
          theme={config.theme2}
          width={width}
          height={height}
        />
      )}
    />
  );
}

function TableOf({ data, width, height, fieldConfig }) {
  const [frame] = data.series;
  return frame?.length ? (
    <Table data={frame} width={width} height={height} cellHeight="sm" />
  ) : (
    <Empty fieldConfig={fieldConfig} />
  );
}

/** A custom option of a field, with Grafana's default. */
const custom = (builder, id, defaultValue) =>
  builder.addCustomEditor({
    id,
    path: id,
    name: id,
    editor: () => null,
    override: () => null,
    process: identityOverrideProcessor,
    shouldApply: () => true,
    defaultValue,
  });

const GRAPH_FIELD = {
  drawStyle: 'line',
  lineInterpolation: 'linear',
  lineWidth: 1,
  fillOpacity: 0,
  gradientMode: GraphGradientMode.None,
  showPoints: VisibilityMode.Auto,
  pointSize: 5,
  spanNulls: false,
  insertNulls: false,
  axisPlacement: 'auto',
  axisGridShow: true,
  axisSoftMin: undefined,
  axisSoftMax: undefined,
  stacking: { mode: 'none', group: 'A' },
  thresholdsStyle: { mode: 'off' },
  lineStyle: { fill: 'solid' },
  hideFrom: { tooltip: false, viz: false, legend: false },
};

function plugin(id, component) {
  const made = new PanelPlugin(component);
  made.meta = { id, name: id, type: PluginType.panel, module: '', baseUrl: '', sort: 1, info: { version: '' } };
  return made;
}

export const PLUGINS = {
  timeseries: plugin('timeseries', Graph).useFieldConfig({
    standardOptions: { color: { defaultValue: { mode: FieldColorModeId.PaletteClassic } } },
    useCustomConfig: (builder) => Object.entries(GRAPH_FIELD).forEach(([id, value]) => custom(builder, id, value)),
  }),
  stat: plugin('stat', Stat).useFieldConfig({}),
  table: plugin('table', TableOf).useFieldConfig({ useCustomConfig: (builder) => custom(builder, 'width', undefined) }),
};

export const DEFAULTS = {
  timeseries: { legend: { displayMode: LegendDisplayMode.List, placement: 'bottom', showLegend: true, calcs: [] } },
  stat: { reduceOptions: { calcs: [ReducerID.lastNotNull], values: false }, graphMode: 'none', colorMode: 'value' },
  table: {},
};
