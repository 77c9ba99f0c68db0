// Starts a report: the page over the data that the file has inside.

import { byId } from './dom.js';
import { showMessage } from './header.js';
import { Page } from './page.js';
import { unpack } from './packed.js';
import { ReportSource } from './report_source.js';

async function start() {
  try {
    const { about, series } = await unpack(byId('recording').textContent);
    await new Page(new ReportSource(about, series)).start();
  } catch (error) {
    showMessage(`This file is damaged: ${error.message}`, { tone: 'bad' });
  }
}

start();
