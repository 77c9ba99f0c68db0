// Being live: one cheap query an interval for what is new, none while nobody looks.

import { isAbort } from './api.js';
import { Follower } from './follower.js';

const SLOWEST_S = 5; // between tries while the sidecar does not answer

export class Live {
  #follower = null;
  #timer = null;
  #stopping = null; // an AbortController while it runs
  #failures = 0;

  /** `took`: called with new values (see follower.js) and the newest time; `failed`: with an error; `missed`: after a long pause. */
  constructor(source, { took, failed, missed }) {
    this.source = source;
    this.on = { took, failed, missed };
    document.addEventListener('visibilitychange', () => this.#stopping && !document.hidden && this.#poll());
  }

  get running() {
    return this.#stopping !== null;
  }

  /** Follows a tree from `since` on. */
  start(tree, since) {
    this.stop();
    this.tree = tree;
    this.#follower = new Follower(since);
    this.#stopping = new AbortController();
    this.#poll();
  }

  stop() {
    this.#stopping?.abort();
    this.#stopping = null;
    clearTimeout(this.#timer);
  }

  async #poll() {
    clearTimeout(this.#timer);
    const { signal } = this.#stopping;
    const { interval } = this.source;
    if (document.hidden) {
      return; // visibilitychange polls again
    }
    if (this.#follower.behind(this.source.clock(), interval)) {
      this.on.missed();
      return;
    }
    let pause = interval;
    try {
      const answer = await this.source.follow(this.tree, this.#follower.secondsSince(this.source.clock(), interval), signal);
      this.#failures = 0;
      this.on.took(this.#follower.take(answer), this.#follower.newest);
    } catch (error) {
      if (isAbort(error)) {
        return;
      }
      pause = Math.min(SLOWEST_S, interval * 2 ** this.#failures++);
      this.on.failed(error);
    }
    if (!signal.aborted) {
      this.#timer = setTimeout(() => this.#poll(), pause * 1000);
    }
  }
}
