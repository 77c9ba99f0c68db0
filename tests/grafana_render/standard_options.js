// The options that every panel has. Grafana registers them with their editors; here they have none.

import {
  FieldColorModeId,
  ThresholdsMode,
  booleanOverrideProcessor,
  dataLinksOverrideProcessor,
  displayNameOverrideProcessor,
  identityOverrideProcessor,
  numberOverrideProcessor,
  standardEditorsRegistry,
  standardFieldConfigEditorRegistry,
  standardTransformersRegistry,
  standardTransformers,
  stringOverrideProcessor,
  thresholdsOverrideProcessor,
  unitOverrideProcessor,
  valueMappingsOverrideProcessor,
} from '@grafana/data';

const NoEditor = () => null;
const green = { mode: ThresholdsMode.Absolute, steps: [{ value: -Infinity, color: 'green' }, { value: 80, color: 'red' }] };

const OPTIONS = [
  ['unit', unitOverrideProcessor],
  ['min', numberOverrideProcessor],
  ['max', numberOverrideProcessor],
  ['fieldMinMax', booleanOverrideProcessor],
  ['decimals', numberOverrideProcessor],
  ['displayName', displayNameOverrideProcessor],
  ['noValue', stringOverrideProcessor],
  ['color', identityOverrideProcessor, { mode: FieldColorModeId.Thresholds }],
  ['mappings', valueMappingsOverrideProcessor, []],
  ['thresholds', thresholdsOverrideProcessor, green],
  ['links', dataLinksOverrideProcessor, []],
];

const TRANSFORMERS = ['organizeFieldsTransformer', 'mergeTransformer', 'sortByTransformer'].map((name) => standardTransformers[name]);

const EDITORS = ['number', 'text', 'boolean', 'select', 'radio', 'slider', 'color', 'strings', 'stats-picker', 'multi-select'];

export function register() {
  standardEditorsRegistry.setInit(() => EDITORS.map((id) => ({ id, name: id, editor: NoEditor })));
  standardFieldConfigEditorRegistry.setInit(() =>
    OPTIONS.map(([id, process, defaultValue]) => ({
      id,
      path: id,
      name: id,
      editor: NoEditor,
      override: NoEditor,
      process,
      defaultValue,
      settings: {},
      shouldApply: () => true,
    }))
  );
  standardTransformersRegistry.setInit(() =>
    TRANSFORMERS.map((transformation) => ({
      id: transformation.id,
      transformation,
      name: transformation.name,
      editor: NoEditor,
    }))
  );
}
