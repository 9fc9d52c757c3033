/** A table with a row a run: sorted by a click on a heading, filtered by words, written as CSV. */

import { csvButton, element, said } from "./elements.js";
import { worded } from "./settings.js";

const LONG = 60; // letters, of a text that runs over several lines
const MOST_ROWS = 200; // at first: a browser takes its time to lay out many

export class RunsTable {
  /**
   * columns   [{name, title, setting}], where setting is whether it was varied; rows [[value of each column]]; a value is a number, a text or null
   * censored  whether the delay of each row is only known to be longer; pages, the file of each row's page or null
   */
  constructor(parent, { columns, rows, censored, pages }) {
    Object.assign(this, { columns, rows, censored, pages, order: rows.map((_, n) => n), words: [], sorted: null, descending: false });
    this.lines = []; // made when they are first shown
    this.texts = rows.map((row, n) => row.map((value, at) => this.text(n, at, value).toLowerCase()));
    const input = element("input", { type: "search", id: "filter", autocomplete: "off", "aria-describedby": "filter-help" });
    input.addEventListener("input", () => this.filter(input.value));
    this.count = element("output", { for: "filter", id: "count" });
    this.headings = columns.map(({ title }, at) => this.heading(title, at));
    this.body = element("tbody");
    this.all = rows.length <= MOST_ROWS;
    this.more = element("button", { type: "button", class: "small", id: "more" }, "Show all of them");
    this.more.addEventListener("click", () => {
      this.all = true;
      this.show();
    });
    parent.append(
      element("div", { class: "menus" }, element("div", {}, element("label", { for: "filter" }, "Show runs with"), " ", input), this.count),
      element("p", { class: "note", id: "filter-help" }, "All words must occur in a row. weight_decay=1 asks for exactly this value of a column."),
      element("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Runs" },
        element("table", { id: "runs" }, element("thead", {}, element("tr", {}, ...this.headings)), this.body)),
      element("div", { class: "tools" }, csvButton("Runs", () => this.found()), this.more),
    );
    this.filter("");
  }

  heading(title, at) {
    const button = element("button", { type: "button" }, title);
    button.addEventListener("click", () => this.sort(at));
    return element("th", { scope: "col", "aria-sort": "none" }, button);
  }

  text(row, at, value) {
    const text = typeof value === "number" && this.columns[at].setting ? worded(value) : typeof value === "string" ? value : said(value);
    return this.columns[at].name === "delay" && this.censored[row] && value !== null ? `≥ ${text}` : text;
  }

  cell(row, at, value) {
    const text = this.text(row, at, value);
    const page = this.columns[at].name === "run" ? this.pages[row] : null;
    return element("td", { class: text.length > LONG ? "long" : null }, page ? element("a", { href: page }, text) : text);
  }

  /** Sort by a column; by the same once more, the other way round. What is missing comes last. */
  sort(at) {
    this.descending = this.sorted === at && !this.descending;
    this.sorted = at;
    const sign = this.descending ? -1 : 1;
    this.order = this.rows.map((_, n) => n).sort((one, other) => inOrder(this.rows[one][at], this.rows[other][at], sign));
    this.headings.forEach((heading, n) => heading.setAttribute("aria-sort", n !== at ? "none" : this.descending ? "descending" : "ascending"));
    this.show();
  }

  filter(words) {
    this.words = words.toLowerCase().split(/\s+/).filter(Boolean);
    this.show();
  }

  /** The runs that have all the words, in their order. */
  get matching() {
    return this.order.filter((n) => this.words.every((word) => this.has(n, word)));
  }

  show() {
    const { matching } = this;
    const shown = this.all ? matching : matching.slice(0, MOST_ROWS);
    this.body.replaceChildren(...shown.map((n) => this.line(n)));
    this.more.hidden = shown.length === matching.length;
    const first = this.more.hidden ? "" : `, of which the first ${said(shown.length)} are shown`;
    this.count.textContent = `${said(matching.length)} of ${said(this.rows.length)} runs${first}`;
  }

  line(n) {
    this.lines[n] ??= element("tr", {}, ...this.rows[n].map((value, at) => this.cell(n, at, value)));
    return this.lines[n];
  }

  has(row, word) {
    const [name, value] = word.split(/=(.*)/s);
    const at = this.columns.findIndex((column) => column.name.toLowerCase() === name);
    if (value === undefined || at < 0) return this.texts[row].some((text) => text.includes(word));
    const own = this.rows[row][at];
    return this.texts[row][at] === value || (typeof own === "number" && value !== "" && own === Number(value));
  }

  /** The rows of the runs that match, with numbers as they are. */
  found() {
    const columns = [...this.columns.map(({ name }) => name), "censored"];
    return { columns, rows: this.matching.map((n) => [...this.rows[n], this.censored[n]]) };
  }
}

function inOrder(one, other, sign) {
  if (one === null || other === null) return Number(one === null) - Number(other === null);
  if (typeof one !== typeof other) return typeof one === "number" ? -1 : 1;
  return one < other ? -sign : one > other ? sign : 0;
}
