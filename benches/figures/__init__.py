"""What the hot path is to reach: one file a subject, each of which says what it measures, why, and against what.

A subject yields figures, each with its limit, and Markdown that belongs below their table. bench_figures.py runs them.
"""
