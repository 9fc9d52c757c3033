/** Maps over pairs (a, b) on canvases, in one scale of colours, with the pair that is pointed at marked in all. */

import { element, said } from "./elements.js";
import { NO_VALUE, TABLE } from "./colours.js";

/** One map: a upwards, b to the right. */
export class PairMap {
  constructor(parent, { p, pair, label, show = said }) {
    Object.assign(this, { p, pair, show });
    this.values = null;
    this.title = element("p", { class: "map-title" }, label);
    this.canvas = element("canvas", { width: p, height: p, role: "img", "aria-label": `${label}, over pairs` });
    this.context = this.canvas.getContext("2d");
    this.image = this.context.createImageData(p, p);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.cross = element("div", { class: "cross" });
    this.held = element("div", { class: "canvas" }, this.canvas, this.cross);
    this.value = element("p", { class: "map-value" }, "\u00a0");
    parent.append(element("div", { class: "map" }, this.title, element("div", { class: "held" },
      element("span", { class: "y" }, `a, 0 to ${p - 1}`), this.held, element("span", { class: "x" }, `b, 0 to ${p - 1}`)), this.value));
    this.listen();
    pair.follow(() => this.moved());
  }

  listen() {
    const set = (event) => {
      const box = this.canvas.getBoundingClientRect();
      const b = Math.floor(((event.clientX - box.left) / box.width) * this.p);
      const a = Math.floor(((box.bottom - event.clientY) / box.height) * this.p);
      this.pair.set(a, b);
    };
    this.canvas.addEventListener("pointermove", set);
    this.canvas.addEventListener("pointerdown", set);
  }

  /** Draw values [a, b] between two ends of the colours; where `groups` [a, b] are given, only the pairs of `group`. */
  draw(values, low, high, groups = null, group = 1) {
    Object.assign(this, { values, groups, group });
    const { p, pixels } = this;
    const factor = high > low ? 255 / (high - low) : 0;
    for (let a = 0; a < p; a++) {
      let at = (p - 1 - a) * p;
      for (let n = a * p; n < a * p + p; n++, at++) {
        const level = (values[n] - low) * factor;
        if (groups !== null && groups[n] !== group) pixels[at] = 0;
        else if (level >= 0 && level <= 255) pixels[at] = TABLE[(level + 0.5) | 0];
        else pixels[at] = level < 0 ? TABLE[0] : level > 255 ? TABLE[255] : NO_VALUE;
      }
    }
    this.context.putImageData(this.image, 0, 0);
    this.moved();
  }

  moved() {
    const { a, b } = this.pair;
    this.cross.style.left = `${((b + 0.5) / this.p) * 100}%`;
    this.cross.style.bottom = `${((a + 0.5) / this.p) * 100}%`;
    if (this.values === null) return;
    const n = a * this.p + b;
    const leftOut = this.groups !== null && this.groups[n] !== this.group;
    this.value.textContent = `(${a}, ${b}): ${leftOut ? "a pair of the other map" : this.show(this.values[n])}`;
  }
}

/** The colours of some maps, and what their ends stand for. */
export function colourBar(parent, title, low, high) {
  const canvas = element("canvas", { width: 256, height: 1, class: "bar", "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  const image = context.createImageData(256, 1);
  new Uint32Array(image.data.buffer).set(TABLE);
  context.putImageData(image, 0, 0);
  parent.append(element("div", { class: "colours" }, element("span", {}, title), element("span", {}, low), canvas,
    element("span", {}, high)));
}
