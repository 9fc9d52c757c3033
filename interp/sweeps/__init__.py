"""Sweeps: which runs (grid), what one run is (jobs), who works on it (owners), where (local, cluster), the table."""
