"""Thresholds that several modules share; without torch, so that the shell can show them quickly."""

LEARNED = 0.99  # accuracy from which a set counts as learned
FELL = 0.09  # test accuracy has fallen if it is so far under that threshold
KEY_SHARE = 0.01  # a frequency is key above this share of the squared cos coefficients of the logits
