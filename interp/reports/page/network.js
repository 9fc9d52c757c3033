/** What a network does with each pair, computed from what each number adds: attention from "=", and neurons. */

const ALIKE = { powers: null, share: null, constant: 1 }; // where nothing attends, each row is added as it is

// Each of all inputs at once: a call a number would cost as much as the rest.
const ACTIVATIONS = {
  relu: (all) => {
    for (let n = 0; n < all.length; n++) if (all[n] < 0) all[n] = 0;
    return all;
  },
  gelu: (all) => replaced(all, (x) => 0.5 * x * (1 + erf(x / Math.SQRT2))),
  gelu_new: (all) => replaced(all, (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))),
  square: (all) => replaced(all, (x) => x * x),
};

function replaced(all, by) {
  for (let n = 0; n < all.length; n++) all[n] = by(all[n]);
  return all;
}

/** The error function, to 2e-8: 2/√π · exp(−x²) · Σ 2ⁿ x²ⁿ⁺¹ / (1 · 3 · … · (2n + 1)), and ±1 beyond 4. */
export function erf(x) {
  if (Math.abs(x) > 4) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-9 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/**
 * Attention of each head over all pairs, from the scores [head, row] of the rows of a, b and "=".
 *
 * The softmax weighs row r of a pair by powers[r] · share[pair], and `constant` is added to that; so a head is its powers
 * and one number a pair.
 */
export function attentionOf(scores, heads, p, coefficient) {
  const rows = 2 * p + 1;
  return Array.from({ length: heads }, (_, h) => {
    const its = scores.subarray(h * rows, (h + 1) * rows);
    const top = its.reduce((most, score) => Math.max(most, score));
    const powers = Float64Array.from(its, (score) => Math.exp(score - top)); // float32 would lose small ones
    const share = new Float32Array(p * p);
    for (let a = 0, n = 0; a < p; a++) {
      const others = powers[a] + powers[2 * p];
      for (let b = 0; b < p; b++, n++) share[n] = coefficient / (others + powers[p + b]);
    }
    return { powers, share, constant: 1 - coefficient };
  });
}

/** Attention of one head to a over all pairs. */
export function attentionToA({ powers, share, constant }, p, into = new Float32Array(p * p)) {
  for (let a = 0, n = 0; a < p; a++) for (let b = 0; b < p; b++, n++) into[n] = powers[a] * share[n] + constant;
  return into;
}

/**
 * The activations of one neuron over all pairs, from the values [head, row, neuron] that each row adds to its input.
 * `attention` is what attentionOf returns, or null in a network in which nothing attends. The result is written `into`.
 */
export function neuronOverPairs({ values, constant, activation }, attention, neuron, neurons, heads, p, into = new Float32Array(p * p)) {
  const rows = attention === null ? 2 * p : 2 * p + 1;
  const sums = into.fill(constant[neuron]);
  const [partA, partB] = [new Float64Array(p), new Float64Array(p)];
  for (let h = 0; h < heads; h++) {
    const first = h * rows * neurons + neuron;
    const { powers, share, constant: always } = attention === null ? ALIKE : attention[h];
    if (share !== null) {
      const ofEquals = powers[2 * p] * values[first + 2 * p * neurons];
      for (let n = 0; n < p; n++) {
        partA[n] = powers[n] * values[first + n * neurons] + ofEquals;
        partB[n] = powers[p + n] * values[first + (p + n) * neurons];
      }
      addWeighed(sums, partA, partB, share, p);
    }
    if (always === 0) continue;
    const ofEquals = attention === null ? 0 : values[first + 2 * p * neurons];
    for (let n = 0; n < p; n++) {
      partA[n] = always * (values[first + n * neurons] + ofEquals);
      partB[n] = always * values[first + (p + n) * neurons];
    }
    addOuter(sums, partA, partB, p);
  }
  return ACTIVATIONS[activation](sums);
}

function addWeighed(sums, ofA, ofB, share, p) {
  for (let a = 0, n = 0; a < p; a++) {
    const part = ofA[a];
    for (let b = 0; b < p; b++, n++) sums[n] += share[n] * (part + ofB[b]);
  }
}

function addOuter(sums, ofA, ofB, p) {
  for (let a = 0, n = 0; a < p; a++) for (let b = 0; b < p; b++, n++) sums[n] += ofA[a] + ofB[b];
}

/**
 * The waves of a label s over c, one a frequency: A[c] cos(2πks/p) + B[c] sin(2πks/p), from [frequency, 2, c].
 */
export function wavesOf(coefficients, frequencies, s, p) {
  return frequencies.map((k, index) => {
    const angle = (2 * Math.PI * ((k * s) % p)) / p;
    const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
    const place = index * 2 * p;
    return Float32Array.from({ length: p }, (_, c) => coefficients[place + c] * cosine + coefficients[place + p + c] * sine);
  });
}
