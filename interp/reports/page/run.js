/** The page of one run, or of several side by side in step. */

import { readData } from "./data.js";
import { Clock, lastAt, Pair } from "./clock.js";
import { LINES, TABLE } from "./colours.js";
import { element, refreshTables, said } from "./elements.js";
import { attentionOf, attentionToA, neuronOverPairs } from "./network.js";
import { attention, circles, coefficients, curves, graduated, losses, neurons, norms, normsOverTraining, pairFields, path, shares, waves } from "./views.js";

const COLOURS = { train: LINES[0], test: LINES[1], restricted: LINES[3], excluded: LINES[2] };

/** A run on the page: its data, where the slider stands in it, and the plots that follow. */
class View {
  constructor(run, clock, root) {
    Object.assign(this, { run, clock, root });
    this.pair = new Pair(run.p);
    this.sign = run.sign === -1 ? "−" : "+";
    this.xRange = [0, Math.max(run.curves.recorded.step.at(-1), run.steps.at(-1))];
    this.seen = new Map();
    this.kept = {};
    this.maps = {}; // the numbers of each map that is computed here, written anew at each step
    this.watcher = new IntersectionObserver((entries) => this.changed(entries), { rootMargin: "200px" });
    clock.follow(() => this.refresh());
  }

  /** The checkpoint that is shown: the last one that is not past the slider's step. */
  get index() {
    return lastAt(this.run.steps, this.clock.step);
  }

  /** The same among the checkpoints whose maps are kept. */
  get map() {
    return this.run.of_map[this.index];
  }

  /** Let a plot follow the slider: at once where it is in sight, else when it comes into sight. */
  moves(plot, update, ofMaps = false, ownNote = false) {
    this.seen.set(plot.figure, { plot, update, ofMaps, ownNote, shown: null, visible: false });
    this.watcher.observe(plot.figure);
    return plot;
  }

  changed(entries) {
    for (const entry of entries) {
      const one = this.seen.get(entry.target);
      if (!one) continue;
      one.visible = entry.isIntersecting;
      if (one.visible) this.show(one);
    }
  }

  refresh() {
    for (const one of this.seen.values()) if (one.visible) this.show(one);
  }

  /** Draw all plots, in sight or not. */
  showAll() {
    for (const one of this.seen.values()) this.show(one);
  }

  show(one) {
    const { index } = this;
    if (one.shown === index) return;
    one.shown = index;
    one.update(index);
    const step = one.ofMaps ? this.run.map_steps[this.map] : this.run.steps[index];
    one.plot.figure.dataset.step = step;
    if (one.ofMaps && !one.ownNote) {
      one.plot.note(step === this.run.steps[index] ? "" : `Maps are kept of ${this.run.map_steps.length} of ${this.run.checkpoints} checkpoints: this is step ${said(step)}.`);
    }
  }

  /** Draw a plot anew for another pair, unless it is out of sight. */
  later(plot, update) {
    const one = this.seen.get(plot.figure);
    if (one?.visible) update();
    else if (one) one.shown = null;
  }

  /** What each head does with all pairs at a checkpoint, where it is computed here; null where nothing attends. */
  attention(map) {
    const { run } = this;
    if (!run.arrays.scores) return null;
    if (this.kept.map !== map) {
      this.kept = { map, heads: attentionOf(run.arrays.scores.at(map), run.heads, run.p, run.attention_coefficient) };
    }
    return this.kept.heads;
  }

  /** Attention of a head to a over all pairs. */
  toA(map, h) {
    const { run } = this;
    return run.arrays.scores ? attentionToA(this.attention(map)[h], run.p, this.room(`head ${h}`)) : run.arrays.attention.at(map, h);
  }

  /** Room for the numbers of a map, the same at every step. */
  room(name) {
    this.maps[name] ??= new Float32Array(this.run.p ** 2);
    return this.maps[name];
  }

  /** The activations over pairs of the n-th chosen neuron. */
  neuron(map, n) {
    const { arrays, neurons: chosen, p } = this.run;
    if (arrays.neurons) return arrays.neurons.at(map, n);
    const parts = { values: arrays.values.at(map), constant: arrays.constant.at(map), activation: this.run.activation };
    return neuronOverPairs(parts, this.attention(map), n, chosen.length, arrays.values.shape[1], p, this.room(`neuron ${n}`));
  }
}

function build(view) {
  const { root } = view;
  root.dataset.run = view.run.title;
  if (views.length > 1) {
    const shown = element("p", { class: "shown" });
    const show = () => { shown.textContent = `Shown: step ${said(view.run.steps[view.index])}`; };
    view.clock.follow(show);
    show();
    root.append(shown);
  }
  const part = (title) => {
    const grid = element("div", { class: "plots" });
    root.append(element("section", {}, element(views.length > 1 ? "h3" : "h2", {}, title), grid));
    return grid;
  };
  const train = { name: "train", colour: COLOURS.train };
  const test = { name: "test", colour: COLOURS.test, dash: "dash" };
  const over = part("Curves over training");
  const recorded = Object.keys(view.run.curves.recorded).length > 1 ? "recorded" : "measured";
  curves(over, view, {
    title: "Loss", yTitle: "loss (nats)", log: true, from: recorded, names: { train_loss: train, test_loss: test },
    caption: "As the training recorded it, over all of its outputs. Click on a curve to move the slider to the nearest checkpoint. Phases are shaded.",
  });
  curves(over, view, {
    title: "Accuracy", yTitle: "share answered right", log: false, from: recorded, names: { train_accuracy: train, test_accuracy: test },
    caption: "The share of pairs that are answered right.",
  });
  curves(over, view, {
    title: "Progress measures: losses", yTitle: "loss (nats)", log: true, from: "measured",
    names: {
      train_loss: train, test_loss: test, restricted_loss: { name: "restricted", colour: COLOURS.restricted },
      excluded_loss: { name: "excluded", colour: COLOURS.excluded, dash: "dashdot" },
    },
    caption: "Restricted loss, over all pairs, is the loss when only the key frequencies are kept in the logits. Excluded loss, over train pairs, is the loss when they are taken out: it rises as the network comes to rely on its circuit, also before test loss falls. Restricted loss may be under train loss, since the rest of the logits is noise by then. All are measured at the checkpoints over the p numbers, without an output for =.",
  });
  curves(over, view, {
    title: "Progress measures: sparsity", yTitle: "Gini coefficient", log: false, from: "measured",
    names: { embedding_gini: { name: "W_E", colour: COLOURS.train }, unembedding_gini: { name: "W_L", colour: COLOURS.test, dash: "dash" } },
    caption: "How unevenly the norms by frequency are spread: near 1 where a few frequencies hold all.",
  });
  curves(over, view, {
    title: "Progress measures: weights", yTitle: "sum of squared weights", log: false, from: "measured",
    names: { sum_squared_weights: { name: "all parameters", colour: COLOURS.train } },
    caption: "The sum of the squares of all parameters. Where weight decay removes what a circuit does not need, it falls.",
  });
  const at = part("At a checkpoint");
  norms(at, view);
  coefficients(at, view);
  shares(at, view);
  circles(at, view);
  pairFields(at, view);
  attention(at, view);
  neurons(at, view);
  losses(at, view);
  waves(at, view);
  const whole = part("Maps over training");
  normsOverTraining(whole, view);
  path(whole, view);
  graduated(whole, view);
}

/** Where the slider stands in a run: which checkpoint, and in which phase. */
function alone({ run, index }) {
  const step = run.steps[index];
  const phase = run.phases.findLast(([, first, last]) => first <= step && step <= last);
  return `checkpoint ${index + 1} of ${run.steps.length}${phase ? `, ${phase[0]}` : ""}`;
}

/** The step that one of several runs shows. */
function beside({ run, index }) {
  const end = index === run.steps.length - 1 ? " (its last)" : "";
  return `${run.title}: step ${said(run.steps[index])}${end}`;
}

/** The bar of the slider, at the foot of the window. */
function controls(clock) {
  const play = element("button", { type: "button", id: "play" }, "Play");
  const slider = element("input", { type: "range", id: "slider", min: 0, max: clock.steps.length - 1, step: 1, "aria-label": "Checkpoint" });
  const output = element("output", { for: "slider", id: "step" });
  const where = element("span", { id: "where" });
  play.addEventListener("click", () => (clock.playing ? clock.pause() : clock.play()));
  slider.addEventListener("input", () => {
    if (clock.playing) clock.pause();
    clock.set(Number(slider.value));
  });
  const show = () => {
    slider.value = clock.index;
    const text = `step ${said(clock.step)}`;
    slider.setAttribute("aria-valuetext", text);
    output.textContent = text;
    where.textContent = views.length === 1 ? alone(views[0]) : views.map(beside).join(" · ");
    play.textContent = clock.playing ? "Pause" : "Play";
  };
  clock.follow(show);
  document.getElementById("controls").append(play, slider, output, where);
  show();
}

/** Keep the slider's step in the address, as in #step=9000. */
function address(clock) {
  const read = () => {
    const found = /step=(\d+)/.exec(location.hash);
    if (found) clock.goTo(Number(found[1]));
  };
  read();
  addEventListener("hashchange", read);
  let waiting = null;
  if (location.protocol === "about:") return; // within a notebook the address is the notebook's
  clock.follow(() => {
    clearTimeout(waiting);
    waiting = setTimeout(() => history.replaceState(null, "", `#step=${clock.step}`), 200);
  });
}

const runs = readData();
const steps = [...new Set(runs.flatMap((run) => run.steps))].sort((one, other) => one - other);
const clock = new Clock(steps);
address(clock);
const views = runs.map((run, n) => new View(run, clock, document.querySelectorAll(".run")[n]));
views.forEach(build);
clock.follow(refreshTables);
views.forEach(({ pair }) => pair.follow(refreshTables));
controls(clock);
document.documentElement.dataset.ready = "true";
performance.mark("ready");
globalThis.report = { clock, views, arithmetic: { neuronOverPairs, TABLE } };
