"""Walkthroughs, stored with what they put out; `python -m notebooks [NAME…]` executes them and stores it anew."""
