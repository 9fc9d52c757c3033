"""Training: the loop, the updates, the start, the state to resume from, the lock of the run directory, and
modules of the user's that are imported.
"""
