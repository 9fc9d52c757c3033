"""The effect on grokking of each setting that a sweep changed; by default of the shipped sweep."""
