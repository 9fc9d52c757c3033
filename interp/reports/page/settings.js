/** Values of settings in words. */

/** Return the value of a setting as it is written in a configuration: 0.0005, 1e-6, adamw. */
export function worded(value) {
  if (typeof value !== "number" || Number.isInteger(value)) return String(value);
  return String(Number(value.toPrecision(6)));
}
