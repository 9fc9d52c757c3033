"""The solvable neighbours of grokking: one module a figure or table, each with `main(out, sizes)`, without any run."""
