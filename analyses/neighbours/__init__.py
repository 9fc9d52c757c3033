"""The solvable neighbours of grokking: one module a figure or table, each with `main(out, sizes)`.

`unified` has the run in it and takes it first; the others need none.
"""
