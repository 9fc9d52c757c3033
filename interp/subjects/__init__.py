"""Subjects: a model under study as the measures see it, whatever computes it."""
