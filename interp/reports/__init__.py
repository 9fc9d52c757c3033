"""Interactive pages of runs, sweeps and related systems, and animations; `packing` makes a page for a browser."""
