"""Limits, references, baselines, and the verdicts on results that are held against them."""
