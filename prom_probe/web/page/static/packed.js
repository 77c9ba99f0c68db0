// Unpacks a report's data; prom_probe/cli/report/packing.py has written it, and says how it lies.

async function gunzip(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Reads `count` numbers, each a difference from the one before. Numbers may be longer than 32 bits. */
class Numbers {
  constructor(bytes, at) {
    this.bytes = bytes;
    this.at = at;
  }

  take(count) {
    const found = new Float64Array(count);
    let sum = 0;
    for (let place = 0; place < count; place++) {
      let [number, digit] = [0, 1];
      let byte;
      do {
        byte = this.bytes[this.at++];
        number += (byte & 127) * digit;
        digit *= 128;
      } while (byte & 128);
      sum += number % 2 ? -(number + 1) / 2 : number / 2;
      found[place] = sum;
    }
    return found;
  }
}

/** {about, series: [{metric, tree, label, times, values}]}; times in Unix seconds, ascending. */
export async function unpack(base64) {
  const bytes = await gunzip(Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)));
  const size = new DataView(bytes.buffer).getUint32(0);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + size)));
  const numbers = new Numbers(bytes, 4 + size);
  const grids = head.grids.map((count) => numbers.take(count).map((milliseconds) => milliseconds / 1000));
  const series = head.series.map(({ metric, tree, label, grid, runs, times, per }) => {
    const places = runs.flatMap(([first, count]) => Array.from({ length: count }, (_, more) => first + more));
    return {
      metric, tree, label,
      times: Float64Array.from(places, (place) => grids[grid][place]),
      values: numbers.take(places.length).map((number) => (number * times) / per),
    };
  });
  return { about: head.about, series };
}
