"""Runs: their settings, their directories, and the files of others that hold one."""
