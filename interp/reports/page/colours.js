/** Colours: of lines, of values in maps, and of the residues of numbers. */

const DARK = matchMedia("(prefers-color-scheme: dark)").matches;

// Blue, red, green, pink, orange, sky, grey; brighter on a dark page, as it is when the page is opened.
export const LINES = DARK
  ? ["#4fa9e3", "#ff8a4c", "#2fc79b", "#e39ac4", "#f0b73a", "#8fd0f5", "#a8a8a8"]
  : ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f"];
export const SHADES = { memorization: "#56b4e9", "circuit formation": "#f0e442", cleanup: "#e69f00", "cleanup, going on": "#e69f00", grokked: "#999999" };

// Ten points of the viridis colours, between which the table is interpolated.
const VIRIDIS = ["440154", "482878", "3e4a89", "31688e", "26828e", "1f9e89", "35b779", "6ece58", "b5de2b", "fde725"];

/** 256 colours from low to high, each as the 32 bits of a pixel. */
export const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  const at = (n / 255) * (VIRIDIS.length - 1);
  const first = Math.min(Math.floor(at), VIRIDIS.length - 2);
  const [one, two] = [VIRIDIS[first], VIRIDIS[first + 1]].map((hex) => parseInt(hex, 16));
  const mixed = [16, 8, 0].map((shift) => {
    const [x, y] = [(one >> shift) & 255, (two >> shift) & 255];
    return Math.round(x + (y - x) * (at - first));
  });
  return pixel(...mixed);
});

export const NO_VALUE = pixel(128, 128, 128, 90); // where a map has none

function pixel(red, green, blue, alpha = 255) {
  return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/** The colour of a residue n of p, on a circle of hues of one lightness. */
export function residue(n, p) {
  return `hsl(${Math.round((360 * n) / p)} 70% 52%)`;
}
