"""The cost of interp beside that of the alternatives of a user; `python -m benchmarks [NAME…]`."""
