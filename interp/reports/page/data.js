/** The data of the page: what is small as JSON, and arrays whose bytes are decoded when they are first read. */

const KINDS = { float64: Float64Array, float32: Float32Array, uint16: Uint16Array, uint8: Uint8Array };
const NOTHING = 255; // the byte of a value that is not there

/** Return the data blocks of the page, in order. */
export function readData() {
  return [...document.querySelectorAll("script.data")].map((block, index) => {
    const data = JSON.parse(block.textContent);
    for (const [name, about] of Object.entries(data.arrays)) {
      data.arrays[name] = new PackedArray(about, `data-${index}-${name}`);
    }
    return data;
  });
}

/** An array of the page. Its first axis is a checkpoint, unless it belongs to the whole training. */
export class PackedArray {
  constructor({ type, shape, low, high }, id) {
    Object.assign(this, { type, shape, low, high, id });
    this.kept = null;
  }

  /** All numbers, flat; of maps of bytes, the bytes. */
  get values() {
    if (this.kept === null) {
      const bytes = decoded(document.getElementById(this.id).textContent);
      this.kept = new KINDS[this.type](bytes.buffer);
    }
    return this.kept;
  }

  /** The numbers that stand under these first indices, as a view, or decoded from their bytes. */
  at(...indices) {
    let place = 0;
    for (const [axis, index] of indices.entries()) place = place * this.shape[axis] + index;
    const rest = this.shape.slice(indices.length);
    const size = rest.reduce((product, length) => product * length, 1);
    const part = this.values.subarray(place * size, (place + 1) * size);
    return this.low ? this.fromBytes(part, place, size) : part;
  }

  /** A byte n of map i stands for low[i] + (high[i] − low[i]) · n / 254. */
  fromBytes(bytes, place, size) {
    const ofMap = this.shape.slice(-2).reduce((product, length) => product * length, 1);
    const numbers = new Float32Array(bytes.length);
    for (let n = 0; n < bytes.length; n++) {
      const map = Math.floor((place * size + n) / ofMap);
      const step = (this.high[map] - this.low[map]) / 254;
      numbers[n] = bytes[n] === NOTHING ? NaN : this.low[map] + step * bytes[n];
    }
    return numbers;
  }

  /** The smallest and the largest number, of bytes as well. */
  range() {
    if (this.low) return [Math.min(...this.low), Math.max(...this.high)];
    return extent(this.values);
  }
}

/** Return the smallest and the largest finite number of a list, [0, 1] if there is none. */
export function extent(...lists) {
  let low = Infinity;
  let high = -Infinity;
  for (const list of lists) {
    for (let n = 0; n < list.length; n++) {
      const value = list[n];
      if (value === null || value !== value || value === Infinity || value === -Infinity) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return low <= high ? [low, high] : [0, 1];
}

function decoded(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let n = 0; n < binary.length; n++) bytes[n] = binary.charCodeAt(n);
  return bytes;
}
