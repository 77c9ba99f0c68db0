// Draws dashboards in headless chromium and says what is to be seen: one JSON line on standard output.
//
// node render.mjs '{"chromium": PATH, "api": URL, "interval": "1s", "theme": "light", "range": {"from": …, "to": …},
//   "boards": [{"file": PATH, "api": URL, "picture": PATH, "width": 1600, "height": 900, "panels": [TITLE, …]}, …]}'

import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';
import puppeteer from 'puppeteer-core';

import { small } from './small.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const MODULES = path.join(HERE, 'node_modules');
// What Grafana serves of its own: icons, of which the packages lack one that we mirror and that of a slow query, and the font.
const ICONS = path.join(MODULES, '@grafana/ui/dist/public/img/icons');
const OTHER_ICONS = {
  'unicons/angle-double-left.svg': ['unicons/angle-double-right.svg', 'transform="scale(-1 1)"'],
  'unicons/sync-slash.svg': ['unicons/sync.svg', ''],
};
const FONTS = { 'Inter-Regular': 'inter-latin-400-normal', 'Inter-Medium': 'inter-latin-500-normal' };
const UID = 'prom-probe';
const TYPES = { '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.woff2': 'font/woff2' };
const DRAWN_MS = 170_000; // it ends what hangs

const HTML = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>prom_probe</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="/page.css"></head><body style="margin: 0"><div id="root"></div>
<script>
window.__grafana_public_path__ = '/public/';
window.grafanaBootData = {
  settings: { buildInfo: { version: '13.0.1', env: 'production' }, featureToggles: {}, panels: {}, datasources: {} },
  user: { timezone: 'browser', weekStart: 'monday', locale: 'en-US', language: 'en-US' }, navTree: [],
  assets: { light: '', dark: '' },
};
</script>
<script src="/page.js"></script></body></html>`;

/** The page's files, by path; kept beside the packages, by the text of what they are made of. */
async function bundle() {
  const hash = createHash('sha256');
  for (const name of (await readdir(HERE)).sort()) {
    if (/\.(jsx?|[cm]js)$/.test(name)) {
      hash.update(await readFile(path.join(HERE, name)));
    }
  }
  const kept = path.join(MODULES, '.bundles', hash.digest('hex'));
  if (!existsSync(kept)) {
    await mkdir(path.dirname(kept), { recursive: true });
    const fresh = await mkdtemp(`${kept}-`);
    for (const [name, contents] of await make()) {
      await writeFile(path.join(fresh, name), contents);
    }
    await rename(fresh, kept).catch(() => rm(fresh, { recursive: true })); // another was quicker
  }
  return Object.fromEntries(await Promise.all((await readdir(kept)).map(async (name) => [`/${name}`, await readFile(path.join(kept, name))])));
}

async function make() {
  const made = await build({
    entryPoints: [path.join(HERE, 'page.jsx')],
    bundle: true,
    minify: true,
    write: false,
    outdir: '/',
    format: 'iife',
    jsx: 'automatic',
    loader: { '.ttf': 'empty', '.woff': 'empty', '.woff2': 'empty', '.svg': 'dataurl', '.png': 'dataurl' },
    define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
    alias: { 'react-custom-scrollbars-2': path.join(HERE, 'scrollbars.cjs') },
    logLevel: 'error',
  });
  return made.outputFiles.map(({ path: name, contents }) => [path.basename(name), contents]);
}

/** A server on loopback: the page, its icons, and the query API behind the data source's resources. */
function serve(files, asked) {
  const server = http.createServer(async (request, response) => {
    const [where, query] = request.url.split('?');
    const [, number, resource] = where.match(/^\/api\/datasources\/uid\/[^/]+-(\d+)\/resources(\/.*)/) ?? [];
    const send = (body, type) => response.writeHead(200, { 'Content-Type': type }).end(body);
    try {
      if (resource) {
        const target = (asked.boards[number].api ?? asked.api) + resource + (query ? `?${query}` : '');
        const { method, headers } = request;
        const proxied = http.request(target, { method, headers: { 'content-type': headers['content-type'] ?? 'text/plain' } }, (answer) => {
          response.writeHead(answer.statusCode, { 'Content-Type': answer.headers['content-type'] });
          answer.pipe(response);
        });
        proxied.on('error', () => response.writeHead(502).end());
        request.pipe(proxied);
      } else if (where.startsWith('/public/build/img/icons/')) {
        const name = path.normalize(where.slice('/public/build/img/icons/'.length));
        const [file, attribute] = OTHER_ICONS[name] ?? [name, ''];
        send((await readFile(path.join(ICONS, file), 'utf8')).replace('<svg', `<svg ${attribute}`), TYPES['.svg']);
      } else if (where.startsWith('/public/fonts/')) {
        const name = FONTS[path.basename(where, '.woff2')];
        send(await readFile(path.join(MODULES, '@fontsource/inter/files', `${name}.woff2`)), TYPES['.woff2']);
      } else if (files[where]) {
        send(files[where], TYPES[path.extname(where)]);
      } else if (where.endsWith('/asked.json')) {
        const number = Number(where.split('/')[1]);
        const { file, panels } = asked.boards[number];
        const datasource = { uid: `${UID}-${number}`, name: asked.name, url: '', jsonData: { timeInterval: asked.interval, httpMethod: 'POST' } };
        const dashboard = JSON.parse(await readFile(file));
        send(JSON.stringify({ dashboard, datasource, panels, theme: asked.theme, range: asked.range }), 'application/json');
      } else {
        send(HTML, 'text/html');
      }
    } catch {
      response.writeHead(404).end();
    }
  });
  return new Promise((done) => server.listen(0, '127.0.0.1', () => done(server)));
}

/** In the page: each panel's state, what it says, and, where it is asked for, how many pixels of its plots have a colour. */
function look(closely) {
  const found = [];
  // Where a click on the newest point of the first series can lead.
  const linksOf = (panel) => {
    const [frame] = panel.applyFieldConfig(panel.state.$data.state.data).series;
    const field = frame?.fields.find(({ type }) => type === 'number');
    return field?.getLinks({ valueRowIndex: frame.length - 1 }).map(({ title, href }) => [title, href]) ?? [];
  };
  const visit = (object) => {
    if (object.state.fieldConfig) {
      const element = document.querySelector(`[data-viz-panel-key="${object.state.key}"]`);
      const data = object.state.$data.state.data;
      let coloured = 0;
      for (const canvas of (closely && element?.querySelectorAll('canvas')) || []) {
        const { data: rgba } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        for (let at = 0; at < rgba.length; at += 4) {
          const [least, most] = [Math.min(rgba[at], rgba[at + 1], rgba[at + 2]), Math.max(rgba[at], rgba[at + 1], rgba[at + 2])];
          coloured += rgba[at + 3] > 0 && most - least > 40;
        }
      }
      found.push({
        title: object.state.title,
        kind: object.state.pluginId,
        state: data?.state ?? 'NotStarted',
        series: data?.series.length ?? 0,
        error: (data?.errors ?? []).map((error) => error.message ?? String(error)).join('; ') || object.state._pluginLoadError || '',
        text: element?.innerText ?? '',
        empty: element?.querySelector('.panel-empty')?.innerText ?? null,
        plots: element?.querySelectorAll('canvas').length ?? 0,
        rows: element?.querySelectorAll('[role=table] [role=row], table tr').length ?? 0,
        coloured,
        links: data?.series.length ? linksOf(object) : [],
      });
    }
    object.forEachChild(visit);
  };
  if (window.scene) {
    visit(window.scene);
  }
  return found;
}

const done = (panels) => panels.length > 0 && panels.every(({ state }) => state === 'Done' || state === 'Error');

async function draw(browser, origin, board, number) {
  const page = await browser.newPage();
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(`exception: ${error.stack ?? error}`));
  page.on('console', (message) => {
    // Of our own reading of the plots chromium has an opinion.
    if (['error', 'warn', 'assert'].includes(message.type()) && !message.text().includes('willReadFrequently')) {
      complaints.push(`${message.type()}: ${message.text()}`);
    }
  });
  page.on('requestfailed', (request) => complaints.push(`failed: ${request.url()}`));
  page.on('response', (response) => {
    if (response.status() >= 400) {
      complaints.push(`${response.status()}: ${response.url()}`);
    }
  });
  await page.setViewport({ width: board.width, height: board.height, deviceScaleFactor: board.scale ?? 1 });
  await page.goto(`${origin}/${number}/`, { timeout: DRAWN_MS });
  const end = Date.now() + DRAWN_MS;
  let panels = [];
  // Twice the same once all have data, so that what came last is drawn too.
  for (let before = ''; Date.now() < end; await new Promise((next) => setTimeout(next, 250))) {
    panels = await page.evaluate(look, before !== '');
    const now = done(panels) ? JSON.stringify(panels) : '';
    if (now && now === before) {
      break;
    }
    before = now;
  }
  if (board.picture) {
    await writeFile(board.picture, small(await page.screenshot()));
  }
  const text = await page.evaluate(() => document.body.innerText);
  const variables = await page.evaluate(() =>
    (window.scene?.state.$variables.state.variables ?? []).map(({ state }) => [state.name, (state.options ?? []).map(({ value }) => value)])
  );
  const annotations = await page.evaluate(() =>
    window.scene.state.$data.state.layers.flatMap(({ state }) =>
      (state.data?.series ?? []).flatMap((frame) => {
        const values = (name) => frame.fields.find((field) => field.name === name)?.values ?? [];
        return values('time').map((time, at) => ({ name: state.name, time, text: values('text')[at] }));
      })
    )
  );
  await page.close();
  return { file: board.file, panels, complaints, text, variables: Object.fromEntries(variables), annotations };
}

async function main() {
  const asked = JSON.parse(process.argv[2]);
  const server = await serve(await bundle(), asked);
  const browser = await puppeteer.launch({
    executablePath: asked.chromium,
    timeout: DRAWN_MS,
    protocolTimeout: DRAWN_MS,
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars', '--force-color-profile=srgb'],
    env: { ...process.env, TZ: 'UTC', LANG: 'en_US.UTF-8' },
  });
  try {
    const origin = `http://127.0.0.1:${server.address().port}`;
    const seen = [];
    for (const [number, board] of asked.boards.entries()) {
      seen.push(await draw(browser, origin, board, number));
    }
    process.stdout.write(`${JSON.stringify(seen)}\n`);
  } finally {
    await browser.close();
    server.close();
  }
}

await main();
