"""The solvable neighbours of grokking: one module a figure or table, each with `main(run, out, sizes)`."""
