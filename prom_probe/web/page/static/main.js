// Starts the page on the sidecar that it came from.

import { Api } from './api.js';
import { Page } from './page.js';
import { HttpSource } from './source.js';

new Page(new HttpSource(new Api())).start();
