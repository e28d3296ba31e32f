"""What takes how long.

Invariant: nothing here is a test; a figure holds for the machine it was measured on.
"""
