/** Where the page stands in training: the position of the slider, and the pair that is pointed at. */

const EACH = 250; // milliseconds between two checkpoints while it plays

/** A value that others follow. */
class Followed {
  constructor() {
    this.followers = [];
  }

  follow(follower) {
    this.followers.push(follower);
  }

  tell() {
    for (const follower of this.followers) follower(this);
  }
}

/** The slider: a position in the steps of all runs of the page. */
export class Clock extends Followed {
  constructor(steps) {
    super();
    this.steps = steps;
    this.index = steps.length - 1;
    this.timer = null;
  }

  get step() {
    return this.steps[this.index];
  }

  get playing() {
    return this.timer !== null;
  }

  set(index) {
    const within = Math.max(0, Math.min(this.steps.length - 1, Math.round(index)));
    if (within === this.index) return;
    this.index = within;
    this.tell();
  }

  /** Go to the checkpoint that is nearest to a step. */
  goTo(step) {
    this.set(nearest(this.steps, step));
  }

  /** Play from here to the end, from the start if this is the end. */
  play() {
    if (this.index === this.steps.length - 1) this.set(0);
    this.timer = setInterval(() => {
      this.set(this.index + 1);
      if (this.index === this.steps.length - 1) this.pause();
    }, EACH);
    this.tell();
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    this.tell();
  }
}

/** The pair (a, b) that is pointed at, in every map at once. */
export class Pair extends Followed {
  constructor(p) {
    super();
    this.p = p;
    this.a = Math.floor(p / 3);
    this.b = Math.floor(p / 2);
  }

  set(a, b) {
    if (a === this.a && b === this.b) return;
    [this.a, this.b] = [a, b].map((n) => Math.max(0, Math.min(this.p - 1, n)));
    this.tell();
  }
}

/** Return the index of the entry of an ascending list that is nearest to a value. */
export function nearest(list, value) {
  let best = 0;
  for (const [index, one] of list.entries()) {
    if (Math.abs(one - value) < Math.abs(list[best] - value)) best = index;
  }
  return best;
}

/** Return the index of the last entry of an ascending list that is not over a value, 0 if all are. */
export function lastAt(list, value) {
  let found = 0;
  for (const [index, one] of list.entries()) if (one <= value) found = index;
  return found;
}
