/** The plots of a run. Each takes the place it is drawn in and a `view`: the run's data, the clock and the pair. */

import { extent } from "./data.js";
import { element, frame, missing, said } from "./elements.js";
import { colourBar, PairMap } from "./maps.js";
import { Lines } from "./lines.js";
import { LINES, residue, TABLE } from "./colours.js";
import { wavesOf } from "./network.js";

const STEP = "training step";
const LEAST = -8.98; // log10 of nats: what is kept as 1e-9, rounded to a byte
const MOST_WAVES = 7; // that are drawn one by one

/** Two fields for the pair, above the maps: they reach every pair from the keyboard. */
export function pairFields(parent, { run, pair }) {
  const inputs = ["a", "b"].map((name) => {
    const input = element("input", { type: "number", min: 0, max: run.p - 1, "aria-label": `${name} of the pair` });
    input.addEventListener("input", () => {
      const [a, b] = inputs.map((one) => (one.value === "" ? NaN : Number(one.value)));
      if ([a, b].every((n) => Number.isInteger(n) && n >= 0 && n < run.p)) pair.set(a, b);
    });
    input.addEventListener("change", () => { input.value = pair[name]; }); // what is no pair gives way to the last one
    return input;
  });
  const show = () => inputs.forEach((input, n) => {
    if (document.activeElement !== input) input.value = [pair.a, pair.b][n];
  });
  pair.follow(show);
  show();
  parent.append(element("p", { class: "pair" }, "Pair that is shown: a ", inputs[0], " b ", inputs[1], ` (whole numbers from 0 to ${run.p - 1}; or point at a square map)`));
}

/** Losses or other curves over training, with the phases behind them. */
export function curves(parent, view, { title, caption, yTitle, log, from, names }) {
  const { run, clock } = view;
  const sourceOf = (column) => (run.curves[from][column] ? run.curves[from] : run.curves.measured);
  const there = Object.entries(names).filter(([column]) => sourceOf(column)[column]);
  if (there.length === 0) return missing(parent, title, "the run has no record of it");
  const { step: recorded } = run.curves.recorded;
  const thinned = from === "recorded" && run.curves.rows > recorded.length;
  const leftOut = thinned ? ` ${said(recorded.length)} of ${said(run.curves.rows)} rows are drawn.` : "";
  const sources = [...new Set(there.map(([column]) => sourceOf(column)))];
  const plot = frame(parent, { title, caption: caption + leftOut, table: () => ({
    columns: ["step", ...there.map(([column]) => column)],
    rows: sources.flatMap((source) => source.step.map((step, n) => [
      step, ...there.map(([column]) => (sourceOf(column) === source ? source[column][n] : null)),
    ])),
  }) });
  const lines = new Lines(plot.body, {
    series: there.map(([column, look]) => ({ x: sourceOf(column).step, y: sourceOf(column)[column], ...look })),
    shades: run.phases, log, xTitle: STEP, yTitle, label: title, pick: (step) => clock.goTo(step), xRange: view.xRange,
  });
  plot.figure.dataset.whole = "true";
  return view.moves(plot, (index) => lines.mark(run.steps[index]));
}

/** Norms of the embedding and of W_L by frequency, at a checkpoint. */
export function norms(parent, view) {
  const { run } = view;
  for (const [name, title, of] of [["embedding_norms", "Norms of the embedding", "W_E"], ["unembedding_norms", "Norms of the neuron-logit map", "W_L"]]) {
    const array = run.arrays[name];
    if (!array) {
      missing(parent, title, run.missing[name] ?? "the task has no frequencies");
      continue;
    }
    byFrequency(parent, view, {
      title, yTitle: `norm of ${of} along k`, at: (index) => array.at(index), range: [0, array.range()[1] * 1.05],
      caption: `How much of ${of} lies along the waves of each frequency k. ${ofKeys(run)}`,
    });
  }
}

/** Cosine coefficients of the logits, at a checkpoint. */
export function coefficients(parent, view) {
  const { run } = view;
  const title = "Cosine coefficients of the logits";
  const rows = run.cos_coefficients;
  if (!rows) return missing(parent, title, run.missing.waves ?? "the logits have no frequencies");
  const [low, high] = extent(...rows);
  return byFrequency(parent, view, {
    title, yTitle: "coefficient", at: (index) => rows[index], range: [Math.min(0, low * 1.05), high * 1.05],
    caption: `How much of the logits is a wave of a ${view.sign} b − c of frequency k. ${ofKeys(run)}`,
  });
}

function ofKeys(run) {
  return `Key frequencies have more than 1% of the sum of squared cosine coefficients of the logits at step ${said(run.key_step)}; they are the same at every step. The axis is the same at every step, too.`;
}

function byFrequency(parent, view, { title, caption, yTitle, at, range }) {
  const { run } = view;
  const many = at(0).length;
  const x = Array.from({ length: many }, (_, n) => n + 1);
  const keys = new Set(run.keys);
  const part = (values, inside) => Array.from(values, (value, n) => (keys.has(n + 1) === inside ? value : null));
  const plot = frame(parent, { title, caption, table: () => ({
    columns: ["k", yTitle], rows: Array.from(at(view.index), (value, n) => [n + 1, value]),
  }) });
  const lines = new Lines(plot.body, {
    series: [
      { name: "key frequencies", x, y: part(at(0), true), as: "stems", colour: LINES[1] },
      { name: "others", x, y: part(at(0), false), as: "stems", colour: LINES[5] },
    ],
    yRange: range, xRange: [0, many + 1], xTitle: "frequency k", yTitle, label: title,
  });
  return view.moves(plot, (index) => {
    lines.update(0, part(at(index), true));
    lines.update(1, part(at(index), false));
  });
}

/** The numbers on the circle of each key frequency. */
export function circles(parent, view) {
  const { run } = view;
  const title = "The numbers on their circles";
  const array = run.arrays.circles;
  if (!array) return missing(parent, title, run.missing.circles ?? "the embedding is not known");
  const { p, circles: frequencies } = run;
  const limit = Math.max(...array.range().map(Math.abs)) * 1.08;
  const plot = frame(parent, {
    title, wide: true,
    caption: `Each number n at the projection of its embedding on the cosine and the sine direction that W_E has for frequency k at step ${said(run.key_step)}. Before that step the points need not form a circle. Colour is k·n mod p; n = 0 is ringed. ${run.circle_notes.join(" ")}`,
    table: () => ({
      columns: ["n", ...frequencies.flatMap((k) => [`cosine direction of k = ${k}`, `sine direction of k = ${k}`])],
      rows: Array.from({ length: p }, (_, n) => [n, ...frequencies.flatMap((_, panel) => Array.from(array.at(view.index, panel, n)))]),
    }),
  });
  const row = element("div", { class: "maps" });
  plot.body.append(row);
  const size = 420;
  const contexts = frequencies.map((k) => {
    const canvas = element("canvas", { width: size, height: size, role: "img", "aria-label": `The numbers on the circle of frequency ${k}` });
    row.append(element("div", { class: "map" }, element("p", { class: "map-title" }, `k = ${k}`), element("div", { class: "held" },
      element("span", { class: "y" }, "sine direction"), canvas, element("span", { class: "x" }, "cosine direction"))));
    return canvas.getContext("2d");
  });
  return view.moves(plot, (index) => {
    const ink = getComputedStyle(document.body).color;
    frequencies.forEach((k, panel) => {
      const context = contexts[panel];
      const points = array.at(index, panel);
      context.clearRect(0, 0, size, size);
      context.strokeStyle = "#888a";
      context.lineWidth = 1;
      context.strokeRect(0.5, 0.5, size - 1, size - 1);
      for (let n = 0; n < p; n++) {
        const x = size / 2 + (points[2 * n] / limit) * (size / 2);
        const y = size / 2 - (points[2 * n + 1] / limit) * (size / 2);
        context.fillStyle = residue((k * n) % p, p);
        context.beginPath();
        context.arc(x, y, p > 60 ? 6 : 8, 0, 7);
        context.fill();
        if (n > 0) continue;
        context.strokeStyle = ink;
        context.lineWidth = 3;
        context.stroke();
      }
    });
  });
}

/** Attention of each head to a, over pairs. */
export function attention(parent, view) {
  const { run, pair } = view;
  const title = "Attention to a, over pairs";
  if (run.missing.attention) return missing(parent, title, run.missing.attention);
  const heads = Array.from({ length: run.heads }, (_, h) => h);
  const plot = frame(parent, {
    title, wide: true, caption: "How much each head (of the last layer), at the last position, attends to a. What is not paid to a goes to b and, if the network reads it, to =. In the circuit the stripes are waves of one frequency.",
    table: () => overPairs(run.p, heads.map((h) => `head ${h}`), heads.map((h) => view.toA(view.map, h))),
  });
  const row = element("div", { class: "maps" });
  plot.body.append(row);
  colourBar(plot.body, "attention to a", "0", "1");
  const maps = heads.map((h) => new PairMap(row, { p: run.p, pair, label: `head ${h}` }));
  return view.moves(plot, () => {
    heads.forEach((h) => maps[h].draw(view.toA(view.map, h), 0, 1));
  }, true);
}

/** Chosen neurons over pairs, each with its frequency. */
export function neurons(parent, view) {
  const { run, pair } = view;
  const title = "Neurons over pairs";
  if (run.missing.neurons || run.neurons.length === 0) return missing(parent, title, run.missing.neurons ?? "no neuron was chosen");
  const plot = frame(parent, {
    title, wide: true,
    caption: `Neurons chosen at step ${said(run.key_step)}, the same at every step: of each of the largest groups of neurons of one frequency the one that this frequency explains best, then the one that is explained least of those that are not always 0. Without such groups they are those that vary most. A title gives the neuron, its best frequency k at this step, and the share of its variance that k explains. Colours go from its least activation (0 for most) to its largest at this step; beneath is the activation itself.`,
    table: () => overPairs(run.p, run.neurons.map((n) => `neuron ${n}`), run.neurons.map((_, n) => view.neuron(view.map, n))),
  });
  const row = element("div", { class: "maps" });
  plot.body.append(row);
  colourBar(plot.body, "activation", "least", "largest");
  const maps = run.neurons.map((n) => new PairMap(row, { p: run.p, pair, label: `neuron ${n}` }));
  return view.moves(plot, () => {
    run.neurons.forEach((n, at) => {
      const values = view.neuron(view.map, at);
      const [low, high] = extent(values);
      maps[at].draw(values, Math.min(0, low), high);
      const k = run.arrays.neuron_frequencies.at(view.map)[n];
      const share = run.arrays.neuron_shares.at(view.map)[n];
      maps[at].title.textContent = `neuron ${n}: k = ${k}, ${Math.round(100 * share)}%`;
    });
  }, true);
}

/** All neurons by their frequency and its share. */
export function shares(parent, view) {
  const { run } = view;
  const title = "Neurons by frequency and share";
  const { neuron_frequencies: own, neuron_shares: share } = run.arrays;
  if (!own) return missing(parent, title, run.missing.neurons ?? "the network has no neurons");
  const plot = frame(parent, {
    title, caption: "Each neuron at the frequency k that explains most of its variance over pairs, and the share that it explains. Neurons over 0.85 count as of one frequency.",
    table: () => ({
      columns: ["neuron", "k", "share"],
      rows: Array.from(own.at(view.map), (k, n) => [n, k, share.at(view.map)[n]]),
    }),
  });
  const many = Math.floor(run.p / 2);
  const lines = new Lines(plot.body, {
    series: [
      { x: [0, many + 1], y: [0.85, 0.85], dash: "dot", colour: LINES[6] },
      { x: own.at(0), y: share.at(0), as: "dots", colour: LINES[0], opacity: 0.6 },
    ],
    xRange: [0, many + 1], yRange: [0, 1.02], xTitle: "frequency k", yTitle: "share of variance", label: title, noReadout: true,
  });
  return view.moves(plot, () => lines.update(1, share.at(view.map), own.at(view.map)), true);
}

/** The loss of every pair, train and test told apart. */
export function losses(parent, view) {
  const { run, pair } = view;
  const title = "The loss of every pair";
  const array = run.arrays.losses;
  if (!array) return missing(parent, title, run.missing.losses ?? "the losses are not known");
  const [low, high] = array.range();
  const known = run.train.length > 0;
  const groups = known
    ? [["train pairs", run.train, 1], ["test pairs", run.train, 0]]
    : [["all pairs (the split is unknown)", null, 1]];
  const plot = frame(parent, {
    title, caption: "−log of the probability of the right answer, in nats, on a logarithmic scale of colours that holds for all checkpoints. Values are rounded to about 5%, and 1e−9 stands for all that is less. Blank: pairs of the other map.",
    table: () => overPairs(run.p, [...(known ? ["trained on"] : []), "loss (nats)"],
      [...(known ? [run.train] : []), array.at(view.map).map((one) => 10 ** one)]),
  });
  const row = element("div", { class: "maps two" });
  plot.body.append(row);
  colourBar(plot.body, "loss (nats)", said(Number((10 ** low).toPrecision(1))), said(Number((10 ** high).toPrecision(2))));
  const maps = groups.map(([label]) => new PairMap(row, { p: run.p, pair, label, show: (one) => (one <= LEAST ? "under 1e−9 nats" : `${rough(10 ** one)} nats`) }));
  return view.moves(plot, () => {
    const values = array.at(view.map);
    maps.forEach((map, n) => map.draw(values, low, high, groups[n][1], groups[n][2]));
  }, true);
}

/** Return a number with the two digits that a loss is kept with. */
function rough(value) {
  return said(Number(value.toPrecision(2)));
}

/** The logits of the pair that is pointed at, wave by wave. */
export function waves(parent, view) {
  const { run, pair } = view;
  const title = "The logits of one pair, wave by wave";
  const { waves: array, by_sum: mean, rest } = run.arrays;
  if (!array || run.keys.length === 0) return missing(parent, title, run.missing.waves ?? "there are no key frequencies");
  const { p, keys } = run;
  const frequencies = keys.length > MOST_WAVES ? run.circles : keys;
  const notAll = frequencies.length < keys.length ? ` ${frequencies.length} of ${keys.length} waves are drawn; the sum has all.` : "";
  const c = Array.from({ length: p }, (_, n) => n);
  const label = () => (((pair.a + (run.sign || 1) * pair.b) % p) + p) % p;
  const values = () => {
    const every = wavesOf(array.at(view.map), keys, label(), p);
    const sum = Float32Array.from({ length: p }, (_, n) => every.reduce((total, one) => total + one[n], 0));
    const each = frequencies.map((k) => every[keys.indexOf(k)]);
    return { each, sum, all: mean.at(view.map, label()) };
  };
  const plot = frame(parent, {
    title, wide: true,
    caption: `Logits of each output c, less their mean over c, as far as they depend on a ${view.sign} b alone: their waves of the frequencies k, the sum of these, and all of it (the mean over the pairs of the same a ${view.sign} b). Once the circuit has formed, all waves have a crest at the right answer (the dotted line), so their sum is largest there. The rest is what is left of this pair's own logits after the waves are taken away; compare it with the height of the peak.${notAll}`,
    table: () => {
      const { each, sum, all } = values();
      return {
        columns: ["c", ...frequencies.map((k) => `k = ${k}`), "sum of waves", `all that depends on a ${view.sign} b`],
        rows: c.map((n) => [n, ...each.map((one) => one[n]), sum[n], all[n]]),
      };
    },
  });
  const [low, high] = mean.range();
  const first = values();
  const lines = new Lines(plot.body, {
    series: [
      ...frequencies.map((k, n) => ({ name: `k = ${k}`, x: c, y: first.each[n], colour: LINES[n % LINES.length], dash: n < LINES.length ? "solid" : "dot" })),
      { name: "sum of waves", x: c, y: first.sum, colour: "var(--ink)", dash: "dash", width: 3 },
      { name: `all that depends on a ${view.sign} b`, x: c, y: first.all, colour: "var(--soft)", width: 2 },
    ],
    xRange: [0, p - 1], yRange: [low * 1.05, high * 1.05], xTitle: "output c", yTitle: "logit − mean over c", label: title, height: 300,
  });
  const update = () => {
    const { each, sum, all } = values();
    each.forEach((one, n) => lines.update(n, one));
    lines.update(frequencies.length, sum);
    lines.update(frequencies.length + 1, all);
    lines.mark(label());
    const size = rest.at(view.map)[pair.a * p + pair.b];
    const loss = run.arrays.losses ? `; its loss is ${rough(10 ** run.arrays.losses.at(view.map)[pair.a * p + pair.b])} nats` : "";
    const at = run.map_steps[view.map];
    const earlier = at === run.steps[view.index] ? "" : ` at step ${said(at)}, the last with maps`;
    plot.note(`Pair (${pair.a}, ${pair.b})${earlier}: the right answer is ${label()}; the rest is ${said(size)} (root mean square over c)${loss}.`);
  };
  pair.follow(() => view.later(plot, update));
  return view.moves(plot, update, true, true);
}

/** Norms by frequency over the whole training. */
export function normsOverTraining(parent, view) {
  const { run, clock } = view;
  for (const [name, of] of [["embedding_norms", "W_E"], ["unembedding_norms", "W_L"]]) {
    const array = run.arrays[name];
    const title = `Norms of ${of} over training`;
    if (!array) {
      missing(parent, title, run.missing[name] ?? "the task has no frequencies");
      continue;
    }
    const [steps, many] = array.shape;
    const high = array.range()[1];
    const plot = frame(parent, {
      title, caption: `The norm of ${of} along each frequency k (upwards) at each checkpoint (to the right, evenly spaced). Click to go there.`,
      table: () => ({
        columns: ["step", ...Array.from({ length: many }, (_, n) => `k = ${n + 1}`)],
        rows: run.steps.map((step, n) => [step, ...array.at(n)]),
      }),
    });
    const canvas = element("canvas", { width: steps, height: many, role: "img", "aria-label": title });
    const context = canvas.getContext("2d");
    const image = context.createImageData(steps, many);
    const pixels = new Uint32Array(image.data.buffer);
    for (let n = 0; n < steps; n++) {
      const row = array.at(n);
      for (let k = 0; k < many; k++) pixels[(many - 1 - k) * steps + n] = TABLE[Math.round((row[k] / (high || 1)) * 255) || 0];
    }
    context.putImageData(image, 0, 0);
    const column = element("div", { class: "column" });
    const held = element("div", { class: "canvas heat picks" }, canvas, column);
    held.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      const at = Math.min(steps - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * steps)));
      clock.goTo(run.steps[at]);
    });
    plot.body.append(element("div", { class: "held" },
      element("span", { class: "y" }, `frequency k, 1 to ${many}`), held,
      element("span", { class: "x" }, `checkpoints, step ${said(run.steps[0])} to ${said(run.steps[steps - 1])}`)));
    colourBar(plot.body, `norm of ${of}`, "0", said(high));
    plot.figure.dataset.whole = "true";
    view.moves(plot, (index) => { column.style.left = `${((index + 0.5) / steps) * 100}%`; });
  }
}

/** The path of all weights along their first two principal components. */
export function path(parent, view) {
  const { run, clock } = view;
  const title = "The path of the weights";
  const { path: array, path_shares: share, path_steps: steps } = run.arrays;
  if (!array) return missing(parent, title, "it needs three checkpoints with finite weights of one shape");
  const [x, y] = [0, 1].map((axis) => Array.from(steps.values, (_, n) => array.at(n)[axis]));
  const part = (axis) => {
    const its = share.values[axis];
    return `component ${axis + 1}${Number.isNaN(its) ? "" : ` (${(100 * its).toFixed(1)}% of the variance)`}`;
  };
  const plot = frame(parent, {
    title, caption: "All weights at each checkpoint along the two directions in which they move most. A sharp turn is a change of what training does. The spot is this checkpoint.",
    table: () => ({ columns: ["step", "component 1", "component 2"], rows: x.map((_, n) => [steps.values[n], x[n], y[n]]) }),
  });
  const lines = new Lines(plot.body, {
    series: [{ x, y, colour: LINES[6], width: 1.5 }, { x, y, as: "dots", colour: LINES[0], size: 6 }],
    xRange: padded(extent(x)), yRange: padded(extent(y)), xTitle: part(0), yTitle: part(1), label: title, height: 300, noReadout: true,
    pick: null, whole: false,
  });
  lines.place.addEventListener("click", (event) => {
    const box = lines.place.getBoundingClientRect();
    const [px, py] = [event.clientX - box.left, event.clientY - box.top];
    const far = (n) => (lines.x(x[n]) - px) ** 2 + (lines.y(y[n]) - py) ** 2;
    clock.goTo(steps.values[x.reduce((best, _, n) => (far(n) < far(best) ? n : best), 0)]);
  });
  plot.figure.dataset.whole = "true";
  return view.moves(plot, (index) => {
    const at = Array.from(steps.values).indexOf(run.steps[index]);
    lines.point(at < 0 ? null : [x[at], y[at]]);
  });
}

function padded([low, high]) {
  const room = (high - low) * 0.06 || 1;
  return [low - room, high + room];
}

/** When each pair graduated: the first checkpoint from which it is answered right. */
export function graduated(parent, view) {
  const { run, pair } = view;
  const title = "When each pair graduated";
  const array = run.arrays.graduated;
  if (!array) return missing(parent, title, "which pairs are answered right is not known");
  const last = run.steps[run.steps.length - 1];
  const plot = frame(parent, {
    title, caption: `The first of the ${said(run.steps.length)} checkpoints of the slider from which a pair is answered right at every later one. Pairs that are wrong at the last one are grey. Blank: pairs of the other map.`,
    table: () => overPairs(run.p, ["graduated at step"], [array.values]),
  });
  const row = element("div", { class: "maps two" });
  plot.body.append(row);
  const known = run.train.length > 0;
  const groups = known ? [["train pairs", run.train, 1], ["test pairs", run.train, 0]] : [["all pairs", null, 1]];
  colourBar(plot.body, "step", "0", said(last));
  const show = (step) => (Number.isNaN(step) ? "never" : `step ${said(step)}`);
  for (const [label, ...group] of groups) new PairMap(row, { p: run.p, pair, label, show }).draw(array.values, 0, last, ...group);
  return plot;
}

function overPairs(p, names, columns) {
  return {
    columns: ["a", "b", ...names],
    rows: Array.from({ length: p * p }, (_, n) => [Math.floor(n / p), n % p, ...columns.map((one) => one[n])]),
  };
}

