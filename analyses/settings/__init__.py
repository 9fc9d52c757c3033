"""What each setting that a sweep moved does to grokking; by default of the shipped sweep."""
