"""Benchmarked models: one file a family, each ending with its cases."""
