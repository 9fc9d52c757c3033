/** A slider over a list of numbers, with its name and its value beside it as text. */

import { element } from "./elements.js";

/** Make a slider; `say` turns a value into text, and `change` is called with each new one. Returns {value, input}. */
export function slider(parent, { id, label, values, start, say, change }) {
  const first = values.reduce((best, value, n) => (Math.abs(value - start) < Math.abs(values[best] - start) ? n : best), 0);
  const input = element("input", { type: "range", id, min: 0, max: values.length - 1, step: 1, value: first });
  const output = element("output", { for: id });
  const made = { input, get value() { return values[Number(input.value)]; } };
  const show = () => {
    const text = say(made.value);
    output.textContent = text;
    input.setAttribute("aria-valuetext", text);
  };
  input.addEventListener("input", () => {
    show();
    change();
  });
  show();
  parent.append(element("div", {}, element("label", { for: id }, `${label}: `, output), input));
  return made;
}

/** Return numbers at equal ratios, `each` of them in a decade, from 10^first to 10^last. */
export function ratios(first, last, each) {
  const many = (last - first) * each;
  return Array.from({ length: many + 1 }, (_, n) => Number((10 ** (first + n / each)).toPrecision(3)));
}
