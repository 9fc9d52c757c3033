"""The two thresholds that callers may set, for the shell too, which shows them before it loads torch."""

LEARNED = 0.99  # accuracy from which a set counts as learned
KEY_SHARE = 0.01  # of the squared cos coefficients of the logits, over which a frequency is key
