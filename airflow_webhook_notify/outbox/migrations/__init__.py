"""Alembic's folder: the steps from each release's tables to the next one's.

Invariant: a step that was released never changes.
"""
