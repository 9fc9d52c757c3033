"""Figures and tables of a sweep, by default of the shipped one."""
