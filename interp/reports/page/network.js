/** What a network does with each pair, computed from what each number adds: attention from "=", and neurons. */

const ACTIVATIONS = {
  relu: (x) => (x > 0 ? x : 0),
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  gelu_new: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  square: (x) => x * x,
};

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
export function attentionToA({ powers, share, constant }, p) {
  const found = new Float32Array(p * p);
  for (let a = 0, n = 0; a < p; a++) for (let b = 0; b < p; b++, n++) found[n] = powers[a] * share[n] + constant;
  return found;
}

/**
 * The activations of one neuron over all pairs, from the values [head, row, neuron] that each row adds to its input.
 * `attention` is what attentionOf returns, or null in a network in which nothing attends.
 */
export function neuronOverPairs({ values, constant, activation }, attention, neuron, neurons, heads, p) {
  const rows = attention === null ? 2 * p : 2 * p + 1;
  const sums = new Float32Array(p * p).fill(constant[neuron]);
  for (let h = 0; h < heads; h++) {
    const of = (row) => values[(h * rows + row) * neurons + neuron];
    const ofA = Float32Array.from({ length: p }, (_, a) => of(a));
    const ofB = Float32Array.from({ length: p }, (_, b) => of(p + b));
    if (attention === null) {
      addOuter(sums, ofA, ofB, 1, p);
      continue;
    }
    const { powers, share, constant: always } = attention[h];
    const ofEquals = of(2 * p);
    const weighedA = ofA.map((value, a) => value * powers[a] + ofEquals * powers[2 * p]);
    const weighedB = ofB.map((value, b) => value * powers[p + b]);
    for (let a = 0, n = 0; a < p; a++) {
      const part = weighedA[a];
      for (let b = 0; b < p; b++, n++) sums[n] += share[n] * (part + weighedB[b]);
    }
    if (always !== 0) addOuter(sums, ofA, ofB.map((value) => value + ofEquals), always, p);
  }
  const act = ACTIVATIONS[activation];
  for (let n = 0; n < sums.length; n++) sums[n] = act(sums[n]);
  return sums;
}

function addOuter(sums, ofA, ofB, factor, p) {
  for (let a = 0, n = 0; a < p; a++) for (let b = 0; b < p; b++, n++) sums[n] += factor * (ofA[a] + ofB[b]);
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
