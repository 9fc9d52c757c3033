/** The page of a sweep: the delay against each setting that was varied, and the table of its runs. */

import { readData } from "./data.js";
import { element, frame, missing, refreshTables, said } from "./elements.js";
import { LINES } from "./colours.js";
import { Lines } from "./lines.js";
import { RunsTable } from "./runs_table.js";
import { worded } from "./settings.js";
import { medianDelay } from "./survival.js";

const DECADE = 10; // an axis is logarithmic where its values are spread over this ratio or more
const MOST_COLOURS = 14;
const MOST_TICKS = 12;
const DASHES = ["solid", "dash"];
const LONGEST = 14; // letters of a name on the axis

/** The delay of each run against a setting that a menu chooses. */
class DelayPlot {
  constructor(parent, sweep) {
    this.sweep = sweep;
    this.at = Object.fromEntries(sweep.columns.map(({ name }, n) => [name, n]));
    this.plot = frame(parent, {
      title: "Delay by setting", wide: true, table: () => this.table(),
      caption: "A dot a run; a line joins the medians (Kaplan and Meier). △ had not generalized by its last step, and stands at the steps for which it was watched after it memorized: its delay is longer. Medians count it so.",
    });
    this.menus = element("div", { class: "menus" });
    this.place = element("div");
    this.plot.body.append(this.menus, this.place);
    const names = sweep.settings.map(({ name, title }) => [name, title]);
    this.x = this.menu("x", "Setting", names, sweep.first.x);
    const coloured = names.filter(([name]) => this.valuesOf(name).length <= MOST_COLOURS);
    this.colour = names.length > 1 ? this.menu("colour", "Colour", [["", "none"], ...coloured], sweep.first.colour) : null;
    this.which = names.length > 1
      ? this.menu("which", "Runs drawn", [["all", "all"], ["alone", "those that differ from the commonest settings in this one alone"]], sweep.first.alone ? "alone" : "all")
      : null;
    this.draw();
  }

  menu(id, label, options, chosen) {
    const select = element("select", { id }, ...options.map(([value, text]) => element("option", { value, selected: value === chosen }, text)));
    select.addEventListener("change", () => {
      this.draw();
      refreshTables();
    });
    this.menus.append(element("div", {}, element("label", { for: id }, label), " ", select));
    return select;
  }

  /** The value of a setting in a run, as it is told: a setting that is not set has a name too. */
  value(run, name) {
    return this.sweep.rows[run][this.at[name]] ?? this.sweep.settings.find((one) => one.name === name).unset;
  }

  /** The values of a setting, numbers by size before words. */
  valuesOf(name) {
    const values = new Set(this.sweep.rows.map((_, run) => this.value(run, name)));
    return [...values].sort((one, other) => (typeof one === typeof other ? (one < other ? -1 : 1) : typeof one === "number" ? -1 : 1));
  }

  draw() {
    const { sweep } = this;
    const name = this.x.value;
    const colour = this.colour?.value ?? "";
    const movedAlone = sweep.moved.includes(name);
    const alone = this.which?.value === "alone" && movedAlone;
    const among = sweep.rows.map((_, run) => run).filter((run) => !alone || sweep.moved[run] === "" || sweep.moved[run] === name);
    const delay = (run) => sweep.rows[run][this.at.delay];
    this.runs = among.filter((run) => delay(run) > 0);
    this.tell(among, alone, this.which?.value === "alone" && !movedAlone);
    this.lines?.observer.disconnect();
    if (this.runs.length === 0) {
      this.lines = null;
      this.place.replaceChildren();
      missing(this.place, sweep.settings.find((one) => one.name === name).title, "no run of these has a delay");
      return;
    }
    const axis = this.axis(name);
    this.x_of = axis.place;
    const series = [];
    const groups = colour ? this.valuesOf(colour) : [null];
    groups.forEach((group, index) => {
      const own = this.runs.filter((run) => group === null || this.value(run, colour) === group);
      if (own.length === 0) return;
      series.push(...this.group(own, axis, LINES[index % LINES.length], DASHES[Math.floor(index / LINES.length) % 2], group === null ? "median" : worded(group)));
    });
    if (this.runs.some((run) => sweep.censored[run])) series.push({ name: "not by its last step", x: [], y: [], as: "triangles", colour: LINES[6] });
    const delays = this.runs.map(delay);
    const [low, high] = [Math.min(...delays), Math.max(...delays)];
    this.place.replaceChildren();
    this.lines = new Lines(this.place, {
      series, xRange: axis.range, xLog: axis.log, ticks: axis.ticks, whole: false, log: high >= DECADE * low, noReadout: true, height: 340,
      yRange: high >= DECADE * low ? [low / 1.4, high * 1.4] : [0, high * 1.06],
      xTitle: sweep.settings.find((one) => one.name === name).title, yTitle: "delay (steps)", label: `Delay by ${name}`,
    });
    this.lines.place.addEventListener("pointermove", (event) => this.read(event));
  }

  /** Dots, triangles and the line of medians of some runs. */
  group(runs, axis, colour, dash, name) {
    const { sweep } = this;
    const delay = (run) => sweep.rows[run][this.at.delay];
    const part = (some, as) => ({ x: some.map(axis.place), y: some.map(delay), as, colour, opacity: 0.65, size: 8, width: 1.6 });
    const places = [...new Set(runs.map(axis.place))].sort((one, other) => one - other);
    const medians = places.map((place) => {
      const own = runs.filter((run) => axis.place(run) === place);
      return medianDelay(own.map(delay), own.map((run) => sweep.censored[run]));
    });
    return [
      part(runs.filter((run) => !sweep.censored[run]), "dots"),
      part(runs.filter((run) => sweep.censored[run]), "triangles"),
      { name, x: places, y: medians, colour, dash, medians: true },
    ];
  }

  /** Where each run stands: numbers by size, on a logarithmic axis if they are spread; words side by side. */
  axis(name) {
    const values = this.valuesOf(name).filter((value) => this.runs.some((run) => this.value(run, name) === value));
    if (values.some((value) => typeof value !== "number")) {
      const ticks = values.map((value, n) => ({ value: n, text: short(worded(value)) }));
      return { place: (run) => values.indexOf(this.value(run, name)), range: [-0.5, values.length - 0.5], log: false, ticks };
    }
    const [low, high] = [values[0], values.at(-1)];
    const log = low > 0 && high >= DECADE * low;
    const ticks = values.length <= MOST_TICKS ? values.map((value) => ({ value, text: worded(value) })) : null;
    const room = log ? (high / low) ** 0.04 : (high - low) * 0.04 || 0.5;
    return { place: (run) => this.value(run, name), range: log ? [low / room, high * room] : [low - room, high + room], log, ticks };
  }

  /** Say which runs are drawn, and why the others are not. */
  tell(among, alone, nobody) {
    const { sweep, runs } = this;
    const waiting = runs.filter((run) => sweep.censored[run]).length;
    const states = {};
    for (const run of among) if (!runs.includes(run)) states[sweep.states[run]] = (states[sweep.states[run]] ?? 0) + 1;
    const parts = [`${count(runs.length)} drawn${waiting ? `, of which ${said(waiting)} had not generalized by the last step` : ""}.`];
    const left = Object.entries(states).map(([state, many]) => `${said(many)} ${state}`);
    if (left.length) parts.push(`Without a delay: ${left.join(", ")}.`);
    if (alone) parts.push(`${count(sweep.rows.length - among.length)} of the sweep differ in other settings.`);
    if (nobody) parts.push("No run differs from the commonest settings in this one alone, so all are drawn.");
    this.plot.note(parts.join(" "));
  }

  /** Write which run stands nearest to the pointer. */
  read(event) {
    const { lines, sweep } = this;
    const box = lines.place.getBoundingClientRect();
    const [px, py] = [event.clientX - box.left, event.clientY - box.top];
    const away = (run) => Math.hypot(lines.x(this.x_of(run)) - px, lines.y(sweep.rows[run][this.at.delay]) - py);
    const nearest = this.runs.reduce((best, run) => (away(run) < away(best) ? run : best));
    const settings = sweep.settings.filter(({ name }) => sweep.rows[nearest][this.at[name]] !== null).slice(0, 6);
    const words = settings.map(({ name }) => `${name} ${worded(this.value(nearest, name))}`);
    const least = sweep.censored[nearest] ? "≥ " : "";
    lines.readout.textContent = `Run ${sweep.rows[nearest][this.at.run]}: delay ${least}${said(sweep.rows[nearest][this.at.delay])} steps; ${words.join(", ")}`;
  }

  table() {
    const names = [...new Set([this.x.value, this.colour?.value].filter(Boolean))];
    const { sweep } = this;
    return {
      columns: ["run", ...names, "delay", "censored"],
      rows: this.runs.map((run) => ["run", ...names, "delay"].map((name) => sweep.rows[run][this.at[name]]).concat(String(sweep.censored[run]))),
    };
  }
}

function short(text) {
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text;
}

function count(many) {
  return `${said(many)} ${many === 1 ? "run" : "runs"}`;
}

const [sweep] = readData();
const plots = document.getElementById("plots");
const varied = sweep.settings.length > 0;
const delays = varied ? new DelayPlot(plots, sweep) : missing(plots, "Delay by setting", "all runs have the same settings");
const runs = new RunsTable(document.getElementById("table"), sweep);
globalThis.report = { delays, runs, medianDelay };
document.documentElement.dataset.ready = "true";
