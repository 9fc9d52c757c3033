"""The paper's figures and tables: `python -m analyses` draws each declared figure of a run, and runs these modules."""
