"""Files of checkpoints and whole runs, whoever wrote them: what they hold, how it is read, and load_run for all."""
