"""The two thresholds that callers may set, in a module without torch, so that the shell can show them quickly."""

LEARNED = 0.99  # accuracy from which a set counts as learned
KEY_SHARE = 0.01  # a frequency is key above this share of the squared cos coefficients of the logits
