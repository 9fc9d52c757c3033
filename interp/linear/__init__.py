"""Related systems that can be solved: ridge regression by gradient descent, and double descent."""

from interp.linear import digits, double_descent, ridge, two_layer

__all__ = ["digits", "double_descent", "ridge", "two_layer"]
