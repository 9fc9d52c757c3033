"""Training: the loop, the updates, the start, the state to resume from, and the lock of the run directory."""
