/** The page of the neighbours that can be solved: grokking in ridge regression, and double descent. */

import { readData } from "./data.js";
import { element, frame, refreshTables, said } from "./elements.js";
import { LINES } from "./colours.js";
import { Lines } from "./lines.js";
import { Descent } from "./ridge.js";
import { isotropicRisk, riskParts, tunedRidge } from "./descent.js";
import { ratios, slider } from "./sliders.js";

const RECORDS = 240; // points of a curve
const LEAST_DECADE = -6; // of a loss that is drawn
const MOST_STEPS = 1e12;
const SIZE = 200; // what is fixed: samples, or parameters
const [LEAST_SIZE, MOST_SIZE] = [20, 2_000];

/** Grokking in ridge regression: losses over steps, and the two times. */
class RidgePart {
  constructor(root, data) {
    const { arrays } = data;
    const values = Object.fromEntries(Object.entries(arrays).map(([name, array]) => [name, array.values]));
    const [tolerance, unfitted, floor] = values.scalars;
    Object.assign(this, { tolerance, problem: { ...values, n: data.n, m: data.m, unfitted, floor } });
    const sliders = element("div", { class: "sliders" });
    this.result = element("output", { class: "result", for: "decay scale share" });
    const plots = element("div", { class: "plots" });
    root.append(sliders, this.result, plots);
    const change = () => this.draw();
    this.decay = slider(sliders, { id: "decay", label: "Weight decay λ", values: [0, ...ratios(-8, -1, 10)], start: 1e-6, say: zeroIsNone, change });
    this.scale = slider(sliders, { id: "scale", label: "Scale of the start ν", values: [0, ...ratios(-2, 2, 10)], start: 10, say: said, change });
    this.share = slider(sliders, {
      id: "share", label: "Learning rate η, of the largest stable one", values: Array.from({ length: 39 }, (_, n) => (n + 1) / 40), start: 0.5,
      say: (share) => `${said(100 * share)}%, η = ${said(this.descentOf(share).learningRate)}`, change,
    });
    this.losses = this.plot(plots, "Train and test loss", "When the shade begins, the train loss has settled under the tolerance; when it ends, the test loss has.", [
      ["train loss", LINES[0], "solid"], ["test loss", LINES[1], "dash"], ["tolerance", LINES[6], "dot"],
    ]);
    this.parts = this.plot(plots, "Parts of the test loss", "What the samples teach falls first. What the random start left in the null space of the features stays until weight decay has removed it. The products between the parts, of either sign, are in the table.", [
      ["learned", LINES[2], "solid"], ["of the start", LINES[3], "dash"], ["never learned", LINES[4], "dashdot"],
    ]);
    this.draw();
  }

  descentOf(share) {
    return new Descent(this.problem, { weightDecay: this.decay.value, initScale: this.scale.value, share });
  }

  plot(parent, title, caption, looks) {
    const plot = frame(parent, { title, caption: `${caption} Steps from 1 on.`, table: () => this.table() });
    const series = looks.map(([name, colour, dash]) => ({ name, colour, dash, x: [1, 10], y: [null, null] }));
    return new Lines(plot.body, {
      series, log: true, xLog: true, xRange: [1, 10], yRange: [0.1, 1], xTitle: "training step", yTitle: "loss (half a mean square)", label: title, height: 300,
    });
  }

  draw() {
    const { tolerance } = this;
    const descent = this.descentOf(this.share.value);
    this.descent = descent;
    this.times = { overfitting: descent.overfits(tolerance), generalization: descent.generalizes(tolerance) };
    const { overfitting, generalization } = this.times;
    const last = Math.min(MOST_STEPS, 10 ** Math.ceil(Math.log10(10 * Math.max(1_000, overfitting ?? 0, generalization ?? 0))));
    this.steps = [...new Set(Array.from({ length: RECORDS }, (_, n) => Math.round(last ** (n / (RECORDS - 1)))))];
    this.train = this.steps.map((step) => descent.trainLoss(step));
    this.test = this.steps.map((step) => descent.testParts(step));
    const total = this.test.map(({ learned, start, never, cross }) => learned + start + never + cross);
    const shades = overfitting !== null && generalization > overfitting ? [["delay", Math.max(1, overfitting), generalization]] : [];
    redraw(this.losses, this.steps, [this.train, total, this.steps.map(() => tolerance)], shades);
    redraw(this.parts, this.steps, ["learned", "start", "never"].map((name) => this.test.map((parts) => parts[name])), shades);
    this.result.textContent = this.said();
    refreshTables();
  }

  said() {
    const { overfitting, generalization } = this.times;
    const never = (loss, value) => `The ${loss} loss never settles under the tolerance of ${said(this.tolerance)}: it ends at ${said(value)}.`;
    const end = this.descent.horizon;
    const fits = overfitting === null ? never("train", this.descent.trainLoss(end)) : `It overfits at step ${said(overfitting)}.`;
    const learns = generalization === null ? never("test", this.descent.testLoss(end)) : `It generalizes at step ${said(generalization)}.`;
    if (overfitting === null || generalization === null) return `${fits} ${learns}`;
    return `${fits} ${learns} The delay is ${said(generalization - overfitting)} steps.`;
  }

  table() {
    return {
      columns: ["step", "train_loss", "test_loss", "test_loss_learned", "test_loss_initialization", "test_loss_never_learned", "test_loss_cross"],
      rows: this.steps.map((step, n) => {
        const { learned, start, never, cross } = this.test[n];
        return [step, this.train[n], learned + start + never + cross, learned, start, never, cross];
      }),
    };
  }
}

/** Double descent: the error over parameters or samples, and a marker at one of them. */
class DescentPart {
  constructor(root) {
    const menus = element("div", { class: "menus" });
    const sliders = element("div", { class: "sliders" });
    this.result = element("output", { class: "result", for: "along noise ridge chosen" });
    const plots = element("div", { class: "plots" });
    root.append(menus, sliders, this.result, plots);
    const change = () => this.draw();
    this.along = element("select", { id: "along" },
      element("option", { value: "parameters" }, `parameters m, with ${SIZE} samples`), element("option", { value: "samples" }, `samples n, with ${SIZE} parameters`));
    this.along.addEventListener("change", change);
    menus.append(element("div", {}, element("label", { for: "along" }, "Along"), " ", this.along));
    this.noise = slider(sliders, { id: "noise", label: "Label noise σ", values: Array.from({ length: 41 }, (_, n) => n / 20), start: 0.5, say: said, change });
    this.ridge = slider(sliders, { id: "ridge", label: "Ridge λ", values: [0, ...ratios(-6, 1, 10)], start: 0, say: zeroIsNone, change });
    this.sizes = sizes();
    this.chosen = slider(sliders, { id: "chosen", label: "Marker at", values: this.sizes, start: 400, say: said, change });
    const plot = frame(plots, {
      title: "Error over capacity or samples", wide: true, table: () => this.table(),
      caption: "E‖θ̂ − θ*‖² in the limit of large n and m at a fixed ratio, the error over unseen inputs without the noise of their labels. With noise and little ridge it peaks where there are as many parameters as samples; without ridge it is infinite there. The dotted curve has the λ that is best for each ratio, σ²γ/r².",
    });
    const looks = [["error", LINES[0], "solid"], ["of the teacher", LINES[2], "dash"], ["of the noise", LINES[1], "dashdot"], ["error at the tuned λ", LINES[6], "dot"]];
    this.lines = new Lines(plot.body, {
      series: looks.map(([name, colour, dash]) => ({ name, colour, dash, x: this.sizes, y: this.sizes.map(() => null) })),
      log: true, xLog: true, xRange: [LEAST_SIZE, MOST_SIZE], yRange: [0.1, 1], xTitle: "parameters m", yTitle: "error (mean square)", label: "Error over capacity or samples", height: 320,
    });
    this.draw();
  }

  ratio(size) {
    return this.along.value === "parameters" ? size / SIZE : SIZE / size;
  }

  /** [error, of the teacher, of the noise, error at the tuned λ] at a number of parameters or samples. */
  at(size) {
    const [ratio, noise, ridge] = [this.ratio(size), this.noise.value, this.ridge.value];
    const parts = riskParts(ratio, noise, ridge);
    return [parts.teacher + parts.noise, parts.teacher, parts.noise, isotropicRisk(ratio, noise, tunedRidge(ratio, noise))];
  }

  draw() {
    this.curves = this.sizes.map((size) => this.at(size));
    this.lines.xTitle = this.along.value === "parameters" ? "parameters m" : "samples n";
    this.lines.marked = this.chosen.value;
    redraw(this.lines, this.sizes, [0, 1, 2, 3].map((part) => this.curves.map((one) => one[part])), []);
    const size = this.chosen.value;
    const [error, teacher, noise, tuned] = this.at(size).map((value) => (value === Infinity ? "infinite" : said(value)));
    this.result.textContent = `At ${said(size)} ${this.along.value} there are γ = ${said(this.ratio(size))} parameters for each sample, and the error is ${error}: `
      + `${teacher} of the teacher, ${noise} of the noise. With the tuned λ = ${said(tunedRidge(this.ratio(size), this.noise.value))} it would be ${tuned}.`;
    refreshTables();
  }

  table() {
    return {
      columns: [this.along.value, "ratio", "error", "of_the_teacher", "of_the_noise", "error_at_tuned_ridge"],
      rows: this.sizes.map((size, n) => [size, this.ratio(size), ...this.curves[n]]),
    };
  }
}

/** Whole numbers at equal ratios, and all of those about the threshold. */
function sizes() {
  const many = 160;
  const far = Array.from({ length: many }, (_, n) => Math.round(LEAST_SIZE * (MOST_SIZE / LEAST_SIZE) ** (n / (many - 1))));
  const near = Array.from({ length: 21 }, (_, n) => SIZE - 10 + n);
  return [...new Set([...far, ...near])].sort((one, other) => one - other);
}

/** Draw curves anew, on axes that hold them; what is under the lowest decade is left out. */
function redraw(lines, x, curves, shades) {
  const values = curves.flat().filter((value) => Number.isFinite(value) && value >= 10 ** LEAST_DECADE);
  const [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [0.1, 1];
  const first = Math.floor(Math.log10(low));
  lines.yRange = [10 ** first, 10 ** Math.max(first + 1, Math.ceil(Math.log10(high)))];
  lines.xRange = [x[0], x.at(-1)];
  lines.shades = shades;
  curves.forEach((y, n) => Object.assign(lines.series[n], { x, y: y.map((value) => (value >= lines.yRange[0] ? value : null)) }));
  lines.drawLegend();
  lines.draw(lines.width);
}

function zeroIsNone(value) {
  return value === 0 ? "none" : said(value);
}

const [data] = readData();
const ridge = new RidgePart(document.getElementById("ridge-regression"), data);
const descent = new DescentPart(document.getElementById("double-descent"));
globalThis.report = { ridge, descent, Descent, isotropicRisk, riskParts, tunedRidge };
document.documentElement.dataset.ready = "true";
