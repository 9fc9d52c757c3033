"""The type checker of the tests: beartype, to which an int is a float, as to mypy."""

from beartype import BeartypeConf, beartype

typed = beartype(conf=BeartypeConf(is_pep484_tower=True))
