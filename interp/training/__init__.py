"""Training: the loop, the updates, what it begins with, and the directory it writes."""
