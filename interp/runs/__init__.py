"""Runs: their settings, their directories, and how runs and models are loaded, from interp's files and others'."""
