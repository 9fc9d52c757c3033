/** The median of delays of which some are only known to be longer: that of Kaplan and Meier. */

const ROUNDING = 1e-9; // of a share, a product of fractions: 3/4 · 2/3 is a half

/**
 * Return the least delay after which at most half of the runs still wait, NaN if more than half did at their ends.
 * Where exactly half wait from one delay to the next, it is the middle between the two.
 */
export function medianDelay(delays, censored) {
  const falls = fallsOf(delays, censored);
  const first = falls.findIndex(({ share }) => share < 0.5 + ROUNDING);
  if (first < 0) return NaN;
  const lower = falls.findIndex(({ share }) => share < 0.5 - ROUNDING);
  return lower < 0 ? falls[first].delay : (falls[first].delay + falls[lower].delay) / 2;
}

/** Where the share of runs that still wait falls, and what it is from there on. */
function fallsOf(delays, censored) {
  const ended = delays.filter((_, n) => !censored[n]);
  let share = 1;
  return [...new Set(ended)].sort((one, other) => one - other).map((delay) => {
    const watched = delays.filter((other) => other >= delay).length;
    share *= 1 - ended.filter((other) => other === delay).length / watched;
    return { delay, share };
  });
}
