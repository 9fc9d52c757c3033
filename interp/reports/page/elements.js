/** Parts of the page, and the frame that every plot has: title, caption, its numbers as a table and as a file. */

const SVG = "http://www.w3.org/2000/svg";
const SMALL = 120; // rows of a table that are shown

const openTables = new Map(); // from each open table to what fills it

/** Fill the open tables anew: what their plots show has changed. */
export function refreshTables() {
  for (const fill of openTables.values()) fill();
}

/** Make an HTML element. Strings among the children become text, never markup. */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Make an SVG element. */
export function drawn(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** Return a number as text: whole numbers with commas, others with four digits. */
export function said(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return value.toLocaleString("en-US").replace("-", "−");
  const size = Math.abs(value);
  const text = size < 1e-3 || size >= 1e5 ? value.toExponential(2).replace(/\.?0+e/, "e") : String(Number(value.toPrecision(4)));
  return text.replace("e+", "e").replaceAll("-", "−");
}

/**
 * Make the frame of a plot. `table` returns {columns, rows} of what the plot shows now.
 * The result's `body` is where it is drawn, and `note` writes a line beneath it.
 */
export function frame(parent, { title, caption, table, wide }) {
  const body = element("div", { class: "body" });
  const note = element("p", { class: "note", "aria-live": "off" });
  const tools = element("div", { class: "tools" });
  const heading = element("h3", {}, title);
  const figure = element(
    "figure", { class: wide ? "plot wide" : "plot", "aria-label": title }, heading, body, note,
    element("figcaption", {}, caption), tools,
  );
  if (table) {
    tools.append(csvButton(title, table), tableOf(title, table));
  }
  parent.append(figure);
  return { figure, body, heading, table, note: (text) => { note.textContent = text; } };
}

/** Say in place of a plot why it is missing. */
export function missing(parent, title, why) {
  parent.append(element("figure", { class: "plot missing", "aria-label": title },
    element("h3", {}, title), element("p", {}, `Not drawn: ${why}.`)));
}

/** Make the button that writes what `table` returns to a file. */
export function csvButton(title, table) {
  const button = element("button", { type: "button", class: "small" }, "CSV");
  button.setAttribute("aria-label", `Download the numbers of “${title}” as CSV`);
  button.addEventListener("click", () => {
    const { columns, rows } = table();
    const lines = [columns, ...rows].map((row) => row.map(cell).join(","));
    const url = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "text/csv" }));
    const { step, whole } = button.closest("figure")?.dataset ?? {};
    const run = button.closest("[data-run]")?.dataset.run;
    const parts = [...(run ? [run] : []), title, ...(step && !whole ? [`step ${step}`] : [])];
    const name = parts.join(" ").toLowerCase().replace(/[^a-z0-9]+/g, "_");
    const link = element("a", { href: url, download: `${name}.csv` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000); // the browser begins to read it after this
  });
  return button;
}

function cell(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "";
  const text = String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** A table of the first rows, which is filled while it is open. */
function tableOf(title, table) {
  const place = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Numbers of “${title}”` });
  const details = element("details", {}, element("summary", {}, "Table"), place);
  const fill = () => {
    const { columns, rows } = table();
    const shown = rows.slice(0, SMALL);
    place.replaceChildren(element("table", {},
      element("thead", {}, element("tr", {}, ...columns.map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, ...shown.map((row) => element("tr", {},
        ...row.map((value) => element("td", {}, typeof value === "string" ? value : said(value))))))));
    if (rows.length > SMALL) place.append(element("p", {}, `The first ${SMALL} of ${said(rows.length)} rows; CSV has all.`));
  };
  details.addEventListener("toggle", () => {
    if (!details.open) {
      openTables.delete(details);
      return;
    }
    openTables.set(details, fill);
    fill();
  });
  return details;
}
