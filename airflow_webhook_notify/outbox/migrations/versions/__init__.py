"""The steps, one module each.

Invariant: they form one line.
"""
