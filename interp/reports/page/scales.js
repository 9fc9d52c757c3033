/** Scales of axes: where values stand, and which of them are named. */

import { said } from "./elements.js";

/** Return a scale from values to places; `log` takes the logarithm. It has the ticks of its axis. */
export function scale([low, high], [start, end], { log = false, most = 6, whole = false } = {}) {
  const position = log ? Math.log10 : (value) => value;
  let [first, last] = [position(low), position(high)];
  if (!(last > first)) [first, last] = log ? [first - 0.5, first + 0.5] : [first - (Math.abs(first) / 2 || 1), last + (Math.abs(last) / 2 || 1)];
  const place = (value) => start + ((position(value) - first) / (last - first)) * (end - start);
  place.back = (at) => {
    const value = first + ((at - start) / (end - start)) * (last - first);
    return log ? 10 ** value : value;
  };
  place.ticks = log ? decades(first, last, most) : steps(first, last, most, whole);
  return place;
}

function steps(first, last, most, whole) {
  const rough = (last - first) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  let each = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough * 0.999);
  if (whole) each = Math.max(1, Math.round(each));
  const ticks = [];
  for (let n = Math.ceil(first / each - 1e-9); n * each <= last + each * 1e-9; n++) {
    const value = Number((n * each).toPrecision(12));
    ticks.push({ value, text: said(value) });
  }
  return ticks;
}

const SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹";

function decades(first, last, most) {
  const every = Math.max(1, Math.ceil((last - first) / most));
  const ticks = [];
  for (let n = Math.ceil(first / every - 1e-9) * every; n <= last + 1e-9; n += every) {
    const power = String(Math.abs(n)).replace(/\d/g, (digit) => SUPERSCRIPT[Number(digit)]);
    const text = n === 0 ? "1" : n === 1 ? "10" : `10${n < 0 ? "⁻" : ""}${power}`;
    ticks.push({ value: 10 ** n, text });
  }
  if (ticks.length < 2) return [10 ** first, 10 ** last].map((value) => ({ value, text: said(Number(value.toPrecision(2))) }));
  return ticks;
}

const LETTER = 7; // px, at the size in which ticks are named

/** Return the ticks, without the names for which there is no room on the axis. */
export function withRoom(ticks, place) {
  let end = -Infinity;
  return ticks.map(({ value, text }) => {
    const half = (text.length * LETTER) / 2;
    if (place(value) - half < end) return { value, text: "" };
    end = place(value) + half + LETTER;
    return { value, text };
  });
}
