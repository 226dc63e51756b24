"""Figures of the hot path, on whatever machine: how they are measured, and what is measured.

Owns what ``aresbus bench`` and the project's own benchmarks have in common, so that both measure the same work in the same
way. Nothing of it is a promise.
"""
