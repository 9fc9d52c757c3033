"""Walkthroughs, stored with their outputs; `python -m notebooks [NAME…]` executes them and stores these anew."""
