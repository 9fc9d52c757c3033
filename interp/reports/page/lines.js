/** Lines, stems or dots over one axis, as SVG: drawn anew where the room changes, moved in place where values do. */

import { drawn, element, said } from "./elements.js";
import { scale, withRoom } from "./scales.js";
import { extent } from "./data.js";
import { LINES, SHADES } from "./colours.js";

const HEIGHT = 230;
const MARGIN = { left: 62, right: 12, top: 10, bottom: 44 };
const DASHES = { solid: null, dash: "7 4", dot: "2 3", dashdot: "8 3 2 3" };

export class Lines {
  /**
   * series   [{name, x, y, colour, dash, as: "line" | "stems" | "dots" | "triangles"}]
   * shades   [[name, first, last]] behind the lines, named in the legend
   * log      whether y is logarithmic; what is not above 0 is left out. xLog is the same of x
   * ticks    [{value, text}] in place of the ticks of x that numbers have; whole is whether x is a whole number
   * pick     called with the x that was clicked
   */
  constructor(parent, options) {
    Object.assign(this, { log: false, xLog: false, shades: [], height: HEIGHT, whole: true }, options);
    this.series.forEach((one, index) => { one.colour ??= LINES[index % LINES.length]; });
    this.xRange ??= extent(...this.series.map((one) => one.x));
    this.yRange ??= this.yExtent();
    this.marked = null;
    this.spot = null;
    this.legend = element("div", { class: "legend" });
    this.place = element("div", { class: "lines" });
    this.readout = element("p", { class: "readout" }, "\u00a0");
    parent.append(this.legend, this.place, this.readout);
    this.drawLegend();
    this.observer = new ResizeObserver(() => {
      const width = Math.round(this.place.clientWidth);
      if (width && width !== this.width) this.draw(width);
    });
    this.observer.observe(this.place);
    this.draw(Math.round(this.place.clientWidth) || 480);
  }

  yExtent() {
    const values = this.series.flatMap((one) => Array.from(one.y)).filter((value) => value !== null && (!this.log || value > 0));
    const [low, high] = extent(values);
    if (this.log) return [low / 1.3, high * 1.3];
    const room = (high - low) * 0.04;
    return [low >= 0 && low - room < 0 ? 0 : low - room, high + room];
  }

  drawLegend() {
    const named = this.series.filter((one) => one.name);
    const entries = named.map((one) => {
      const sample = drawn("svg", { width: 26, height: 10, "aria-hidden": "true" });
      const dots = one.as === "dots";
      const triangles = one.as === "triangles";
      sample.append(drawn("path", {
        d: dots ? "M13 5h0" : triangles ? triangle(13, 5) : "M1 5H25", fill: "none",
        stroke: one.colour, "stroke-width": dots ? 7 : triangles ? 2 : 2.5, "stroke-linecap": dots ? "round" : "butt",
        "stroke-dasharray": dots ? null : DASHES[one.dash ?? "solid"],
      }));
      return element("span", {}, sample, one.name);
    });
    const shades = this.shades.map(([name]) => {
      const sample = element("i", { class: "shade", style: `background:${SHADES[name] ?? "#999"}` });
      return element("span", {}, sample, name);
    });
    this.legend.replaceChildren(...entries, ...shades);
  }

  draw(width) {
    this.width = width;
    const { left, right, top, bottom } = MARGIN;
    const [x0, x1, y0, y1] = [left, width - right, this.height - bottom, top];
    this.x = scale(this.xRange, [x0, x1], { log: this.xLog, most: Math.max(2, Math.floor(width / 110)), whole: this.whole });
    if (this.ticks) this.x.ticks = withRoom(this.ticks, this.x);
    this.y = scale(this.yRange, [y0, y1], { log: this.log, most: 5 });
    const svg = drawn("svg", { width, height: this.height, role: "img", "aria-label": this.label });
    for (const [name, first, last] of this.shades) {
      svg.append(drawn("rect", {
        x: this.x(first), y: y1, width: Math.max(0, this.x(last) - this.x(first)), height: y0 - y1,
        fill: SHADES[name] ?? "#999", opacity: 0.22,
      }));
    }
    for (const { value, text } of this.y.ticks) {
      svg.append(
        drawn("line", { x1: x0, x2: x1, y1: this.y(value), y2: this.y(value), class: "grid" }),
        drawn("text", { x: x0 - 7, y: this.y(value) + 4, "text-anchor": "end" }, text),
      );
    }
    for (const { value, text } of this.x.ticks) {
      const outside = this.x(value) + 3.5 * text.length > width; // half of its letters would be cut off
      svg.append(
        drawn("line", { x1: this.x(value), x2: this.x(value), y1: y0, y2: y0 + 5, class: "axis" }),
        drawn("text", { x: outside ? width - 1 : this.x(value), y: y0 + 18, "text-anchor": outside ? "end" : "middle" }, text),
      );
    }
    svg.append(
      drawn("path", { d: `M${x0} ${y1}V${y0}H${x1}`, class: "axis" }),
      drawn("text", { x: (x0 + x1) / 2, y: this.height - 6, "text-anchor": "middle", class: "title" }, this.xTitle),
      drawn("text", { transform: `translate(13 ${(y0 + y1) / 2}) rotate(-90)`, "text-anchor": "middle", class: "title" }, this.yTitle),
    );
    this.marker = drawn("line", { y1, y2: y0, class: "marker" });
    this.spotted = drawn("circle", { r: 6, class: "spot" });
    this.paths = this.series.map((one) => drawn("path", {
      fill: "none", stroke: one.colour, "stroke-width": one.as === "dots" ? (one.size ?? 5) : one.as === "stems" ? 3 : (one.width ?? 2),
      "stroke-linecap": one.as === "dots" ? "round" : "butt", "stroke-linejoin": "round", "stroke-dasharray": DASHES[one.dash ?? "solid"],
      opacity: one.opacity,
    }));
    svg.append(...this.paths, this.marker, this.spotted);
    this.series.forEach((_, index) => this.path(index));
    this.listen(svg, x0, x1);
    this.place.replaceChildren(svg);
    this.mark(this.marked);
    this.point(this.spot);
  }

  listen(svg, x0, x1) {
    const at = (event) => Math.max(x0, Math.min(x1, event.clientX - svg.getBoundingClientRect().left));
    svg.addEventListener("pointermove", (event) => this.read(this.x.back(at(event))));
    if (this.pick) {
      svg.classList.add("picks");
      svg.addEventListener("click", (event) => this.pick(this.x.back(at(event))));
    }
  }

  /** Write what stands at the x nearest to this one. */
  read(x) {
    if (this.noReadout) return;
    const parts = [];
    let where = null;
    for (const one of this.series) {
      if (!one.name && this.series.length > 1) continue;
      let best = -1;
      for (let n = 0; n < one.x.length; n++) {
        if (best < 0 || this.apart(one.x[n], x) < this.apart(one.x[best], x)) best = n;
      }
      if (best < 0) continue;
      where ??= one.x[best];
      parts.push(`${one.name ?? this.yTitle} ${said(one.y[best])}`);
    }
    this.readout.textContent = `${this.xTitle} ${said(where)}: ${parts.join(", ")}`;
  }

  /** How far apart two values of x stand on the axis. */
  apart(one, other) {
    return Math.abs(this.x(one) - this.x(other));
  }

  /** Give a line new values. */
  update(index, y, x = this.series[index].x) {
    Object.assign(this.series[index], { x, y });
    this.path(index);
  }

  path(index) {
    const { x, y, as } = this.series[index];
    const parts = [];
    const floor = this.y(Math.max(this.yRange[0], this.log ? this.yRange[0] : Math.min(0, this.yRange[1])));
    let pen = false;
    for (let n = 0; n < x.length; n++) {
      const value = y[n];
      if (value === null || !Number.isFinite(value) || (this.log && value <= 0) || (this.xLog && x[n] <= 0)) {
        pen = false;
        continue;
      }
      const [px, py] = [this.x(x[n]).toFixed(1), this.y(value).toFixed(1)];
      if (as === "dots") parts.push(`M${px} ${py}h0`);
      else if (as === "triangles") parts.push(triangle(Number(px), Number(py)));
      else if (as === "stems") parts.push(`M${px} ${floor.toFixed(1)}V${py}`);
      else parts.push(`${pen ? "L" : "M"}${px} ${py}`);
      pen = true;
    }
    this.paths[index].setAttribute("d", parts.join(""));
  }

  /** Put the upright line at an x. */
  mark(x) {
    this.marked = x;
    this.marker.setAttribute("visibility", x === null ? "hidden" : "visible");
    if (x === null) return;
    for (const side of ["x1", "x2"]) this.marker.setAttribute(side, this.x(x));
  }

  /** Put the moving spot at a point. */
  point(at) {
    this.spot = at;
    this.spotted.setAttribute("visibility", at === null ? "hidden" : "visible");
    if (at === null) return;
    this.spotted.setAttribute("cx", this.x(at[0]));
    this.spotted.setAttribute("cy", this.y(at[1]));
  }
}

function triangle(x, y) {
  return `M${(x - 5).toFixed(1)} ${(y + 4).toFixed(1)}h10l-5 -8.5z`;
}
