"""The paper's figures and tables: one module each, with `main(run, out)`; `python -m analyses` runs them all."""
