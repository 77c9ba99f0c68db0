// The page that chromium shows: one dashboard, drawn by Grafana's packages.

import 'react-grid-layout/css/styles.css';

import { createTheme } from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import { config } from '@grafana/runtime';
import { GlobalStyles, PortalContainer, ThemeContext } from '@grafana/ui';
import React from 'react';
import { createRoot } from 'react-dom/client';
import { BrowserRouter } from 'react-router-dom';

import { PLUGINS } from './plugins.jsx';
import { sceneOf } from './scene.js';
import { start } from './services.js';
import { register } from './standard_options.js';

async function main() {
  const asked = await (await fetch('asked.json')).json();
  await initPluginTranslations('grafana', []);
  config.theme2 = createTheme({ colors: { mode: asked.theme } });
  config.theme = config.theme2.v1;
  register();
  await start(asked.datasource, PLUGINS);
  const scene = sceneOf(asked.dashboard, asked.datasource.uid, asked.range, asked.panels);
  window.scene = scene;
  createRoot(document.getElementById('root')).render(
    <ThemeContext.Provider value={config.theme2}>
      <GlobalStyles />
      <BrowserRouter>
        <div style={{ padding: 12, boxSizing: 'border-box', width: '100vw', minHeight: '100vh', display: 'flex' }}>
          <scene.Component model={scene} />
        </div>
        <PortalContainer />
      </BrowserRouter>
    </ThemeContext.Provider>
  );
}

main().catch((error) => console.error(`page: ${error.stack ?? error}`));
