// Requests to the query API: few at a time, with errors that a person can read.

const AT_ONCE = 2; // a sidecar's queries share one budget of memory
const RETRY_MS = 300;
const BUSY = [422, 503]; // too much at once, perhaps: the budget, or the places, may be free a moment later

export class ApiError extends Error {
  /** `status`: HTTP's; 0 where there was no answer at all. */
  constructor(status, message) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
  }
}

/** Whether an error only says that nobody waits for the answer any more. */
export function isAbort(error) {
  return error.name === 'AbortError';
}

/** Runs tasks in order, `atOnce` of them at the same time; a task that is no longer wanted gives up its place. */
export class Queue {
  #waiting = [];
  #running = 0;

  constructor(atOnce) {
    this.atOnce = atOnce;
  }

  /** The task's result. `signal`: an AbortSignal. */
  run(task, signal) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ task, signal, resolve, reject });
      this.#next();
    });
  }

  async #next() {
    if (this.#running >= this.atOnce || !this.#waiting.length) {
      return;
    }
    const { task, signal, resolve, reject } = this.#waiting.shift();
    this.#running++;
    try {
      signal?.throwIfAborted();
      resolve(await task());
    } catch (error) {
      reject(error);
    } finally {
      this.#running--;
      this.#next();
    }
  }
}

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export class Api {
  #queue = new Queue(AT_ONCE);

  /** `fetchIt`: the browser's fetch; `base`: what stands before /api/v1. */
  constructor(fetchIt = (...request) => fetch(...request), base = '') {
    this.fetchIt = fetchIt;
    this.base = base;
  }

  /** The `data` of an answer; `form`'s values may be lists. Raises ApiError, or AbortError once `signal` says so. */
  async ask(path, form = {}, { signal, post = false } = {}) {
    const pairs = Object.entries(form).flatMap(([name, value]) => [value].flat().map((each) => [name, String(each)]));
    const body = new URLSearchParams(pairs);
    const request = () => (post ? this.#once(path, { method: 'POST', body, signal }) : this.#once(`${path}?${body}`, { signal }));
    return this.#queue.run(async () => {
      try {
        return await request();
      } catch (error) {
        if (!BUSY.includes(error.status)) {
          throw error;
        }
        await wait(RETRY_MS);
        return request();
      }
    }, signal);
  }

  async #once(path, options) {
    let answer;
    try {
      answer = await this.fetchIt(`${this.base}/api/v1/${path}`, options);
    } catch (error) {
      throw isAbort(error) ? error : new ApiError(0, 'The sidecar does not answer.');
    }
    const text = await answer.text();
    let parsed;
    try {
      parsed = JSON.parse(text);
    } catch {
      throw new ApiError(answer.status, text.trim() || `HTTP status ${answer.status}`);
    }
    if (parsed.status !== 'success') {
      throw new ApiError(answer.status, parsed.error ?? `HTTP status ${answer.status}`);
    }
    return parsed.data;
  }
}
