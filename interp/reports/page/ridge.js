/** Ridge regression by gradient descent: every step in closed form, and the steps at which its losses settle. */

const LAST_STEP = Number.MAX_SAFE_INTEGER; // up to here every whole number is exact

/**
 * One descent. In the right singular vectors of the features each coordinate moves by itself,
 * θ_t = θ_∞ + (1 − η(s + λ))^t (θ₀ − θ_∞); in their null space θ_t = (1 − ηλ)^t θ₀.
 *
 * problem   n, m; for each singular vector: s, sigma, targets (Uᵀy), noise (Uᵀ(y − Φθ*)), teacher (Vᵀθ*), start (Vᵀθ₀
 *           for ν = 1), toStart and toUnseen (VᵀΣ times the null parts of θ₀ and of −θ*); covariance (VᵀΣV, flat);
 *           products (of the two null parts under Σ, flat); unfitted, floor (losses that stay)
 * share     η as a share of the largest stable learning rate, 2 ÷ (largest s + λ)
 */
export class Descent {
  constructor(problem, { weightDecay, initScale, share }) {
    Object.assign(this, { problem, weightDecay, initScale });
    const { s, sigma, noise, teacher, start } = problem;
    this.learningRate = (share * 2) / (Math.max(...s) + weightDecay);
    this.rates = Array.from(s, (one) => this.learningRate * (one + weightDecay));
    this.nullRate = this.learningRate * weightDecay;
    this.shrunk = Array.from(s, (one) => weightDecay / (one + weightDecay));
    this.firstError = Array.from(start, (one, i) => initScale * one - teacher[i]);
    this.finalError = Array.from(teacher, (one, i) => -this.shrunk[i] * one + ((1 - this.shrunk[i]) * noise[i]) / sigma[i]);
  }

  trainLoss(step) {
    const { n, sigma, start, targets, unfitted } = this.problem;
    let sum = 0;
    for (let i = 0; i < targets.length; i++) {
      const [left, gone] = powers(this.rates[i], step);
      const residual = left * (sigma[i] * this.initScale * start[i] - targets[i]) - gone * this.shrunk[i] * targets[i];
      sum += residual * residual;
    }
    return sum / (2 * n) + unfitted;
  }

  /** The four parts of the test loss: learned, of the start, never learned, products between them. */
  testParts(step) {
    const { covariance, toStart, toUnseen, products, floor } = this.problem;
    const many = this.rates.length;
    const error = this.rates.map((rate, i) => {
      const [left, gone] = powers(rate, step);
      return left * this.firstError[i] + gone * this.finalError[i];
    });
    const [left] = powers(this.nullRate, step);
    const start = left * this.initScale;
    let [learned, cross] = [0, start * products[1]];
    for (let i = 0; i < many; i++) {
      let row = 0;
      for (let j = 0; j < many; j++) row += covariance[i * many + j] * error[j];
      learned += error[i] * row;
      cross += error[i] * (start * toStart[i] + toUnseen[i]);
    }
    return { learned: learned / 2, start: (start * start * products[0]) / 2, never: products[3] / 2 + floor, cross };
  }

  testLoss(step) {
    const { learned, start, never, cross } = this.testParts(step);
    return learned + start + never + cross;
  }

  /** A step from which nothing changes any more that could be seen. */
  get horizon() {
    const rates = this.rates.length < this.problem.m ? [...this.rates, this.nullRate] : this.rates;
    const slowest = -Math.max(...rates.filter((rate) => rate > 0).map(logFactor));
    return slowest > 0 ? Math.max(1, Math.ceil(Math.min(LAST_STEP, 100 / slowest))) : LAST_STEP;
  }

  /** The first step from which a loss stays at `tolerance` or under it, null if it never does. */
  settles(loss, tolerance) {
    const end = this.horizon;
    const alternating = this.rates.some((rate) => rate > 1); // then even and odd steps follow curves of their own
    const stride = alternating ? 2 : 1;
    let last = -1;
    for (let parity = 0; parity < stride; parity++) {
      const most = Math.floor((end - parity) / stride);
      const at = (k) => loss(k * stride + parity);
      const k = searched(end, most);
      const values = k.map(at);
      if (!(values.at(-1) <= tolerance)) return null;
      last = Math.max(last, lastAbove(at, k, values, tolerance) * stride + parity);
    }
    return last + 1;
  }

  overfits(tolerance) {
    return this.settles((step) => this.trainLoss(step), tolerance);
  }

  generalizes(tolerance) {
    return this.settles((step) => this.testLoss(step), tolerance);
  }
}

/** log |1 − rate|, exact for small rates too. */
function logFactor(rate) {
  return rate < 1 ? Math.log1p(-rate) : Math.log1p(rate - 2);
}

/** (1 − rate)^step, and 1 less that, which is exact where it is small. */
function powers(rate, step) {
  const exponent = step === 0 ? 0 : step * logFactor(rate);
  const negative = rate > 1 && step % 2 === 1;
  const left = (negative ? -1 : 1) * Math.exp(exponent);
  return [left, negative ? 1 - left : -Math.expm1(exponent)];
}

/** The numbers at which a loss is looked at: each up to 64, then at ratios of 1.05. */
function searched(end, most) {
  const many = 2 + Math.floor(Math.log(end + 1) / 0.05);
  const far = Array.from({ length: many }, (_, n) => Math.floor(Math.max(most, 1) ** (n / (many - 1))));
  const near = Array.from({ length: Math.min(65, most + 1) }, (_, n) => n);
  return distinct([...near, ...far, most].filter((k) => k <= most));
}

/** The last whole number at which `at` is over the tolerance, from its values at k; far below 0 if there is none. */
function lastAbove(at, k, values, tolerance) {
  const after = values.findLastIndex((value) => value > tolerance);
  let [low, high] = after >= 0 ? [k[after], k[after + 1]] : [-(2 ** 60), -(2 ** 60)];
  for (let i = k.length - 2; i > Math.max(after, 0); i--) {
    if (!(values[i] > 0.9 * tolerance && values[i] >= Math.max(values[i - 1], values[i + 1]))) continue;
    const over = climb(at, k[i - 1], k[i + 1], tolerance);
    if (over === null) continue;
    [low, high] = [over, k[i + 1]];
    break;
  }
  while (high - low > 1) {
    const inner = between(low, high);
    const over = inner.slice(0, -1).findLastIndex((one) => at(one) > tolerance);
    [low, high] = [inner[over], inner[over + 1]];
  }
  return low;
}

/** Some number at which `at` is over the tolerance near the top of the peak between two, null if it does not get there. */
function climb(at, low, high, tolerance) {
  for (;;) {
    const inner = between(low, high);
    const values = inner.map(at);
    const over = values.findLastIndex((value) => value > tolerance);
    if (over >= 0) return inner[over];
    if (high - low < 66) return null;
    const top = values.indexOf(Math.max(...values));
    [low, high] = [inner[Math.max(top - 1, 0)], inner[Math.min(top + 1, inner.length - 1)]];
  }
}

/** Up to 66 whole numbers from low to high. */
function between(low, high) {
  return distinct([...Array.from({ length: 65 }, (_, n) => Math.floor(low + ((high - low) * n) / 65)), high]);
}

function distinct(numbers) {
  return [...new Set(numbers)].sort((one, other) => one - other);
}
