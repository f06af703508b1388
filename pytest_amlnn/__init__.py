"""Benchmark the training of neural networks with pytest."""

from pytest_amlnn.case import Case, Recipe, discover
from pytest_amlnn.data import DataError, Pictures, Series, Split, Weights
from pytest_amlnn.gate import Limit, Verdict
from pytest_amlnn.result import Epoch, Result, Run

__all__ = [
    "Case",
    "DataError",
    "Epoch",
    "Limit",
    "Pictures",
    "Recipe",
    "Result",
    "Run",
    "Series",
    "Split",
    "Verdict",
    "Weights",
    "discover",
]
