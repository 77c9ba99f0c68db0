// While live: what the cheap query of each second leaves out, asked for now and then: parents, command lines, IO, threads.

const EVERY = 5;

export class Details {
  #rows = new Map(); // by key, as a source's `table` gives them
  #asked = 0;

  /** Asks every fifth time, and for a process that nobody knew of at once; new events are added to the recording too. */
  async refresh(source, tree, recording, present) {
    if (this.#asked++ % EVERY !== 0 && present.every(({ key }) => this.#rows.has(key))) {
      return;
    }
    const now = source.clock();
    try {
      this.#rows = new Map((await source.table(tree, now)).map((row) => [row.key, row]));
      const known = new Set(recording.events.map((event) => JSON.stringify(event)));
      const since = recording.events.at(-1)?.t ?? recording.window.start;
      const events = await source.events(tree, since, now);
      recording.events.push(...events.filter((event) => !known.has(JSON.stringify(event))));
    } catch {
      // the next time brings them
    }
  }

  /** Rows with all their cells. */
  complete(rows) {
    return rows.map((row) => {
      const details = this.#rows.get(row.key) ?? {};
      return { ...details, ...row, parent: row.parent ?? details.parent ?? null, commandLine: row.commandLine ?? details.commandLine ?? null };
    });
  }
}
