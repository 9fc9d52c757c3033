"""Subjects: one model under study, whoever computes it, as the measures see it."""
