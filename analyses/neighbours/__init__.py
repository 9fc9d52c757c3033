"""Related systems that can be solved: a module for each figure or table, with `main(out, sizes)`.

`unified` shows the run too: its `main` takes it first.
"""
