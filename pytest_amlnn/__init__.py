"""Benchmark the training of neural networks with pytest."""

from pytest_amlnn.case import Case, Improvement, Training, discover, variant_of
from pytest_amlnn.data import DataError, Examples, Pictures, Series, Source, Split, Weights
from pytest_amlnn.gates.limits import Limit
from pytest_amlnn.gates.verdict import Verdict
from pytest_amlnn.metrics import Metric, Paired
from pytest_amlnn.recipe import Recipe, Transforms
from pytest_amlnn.result import Epoch, Result, Run
from pytest_amlnn.search import Search
from pytest_amlnn.tasks import Scored, Task
from pytest_amlnn.tasks.classification import CLASSIFICATION, Classification
from pytest_amlnn.tasks.forecast import FORECAST, Forecast

__all__ = [
    "CLASSIFICATION",
    "FORECAST",
    "Case",
    "Classification",
    "DataError",
    "Epoch",
    "Examples",
    "Forecast",
    "Improvement",
    "Limit",
    "Metric",
    "Paired",
    "Pictures",
    "Recipe",
    "Result",
    "Run",
    "Scored",
    "Search",
    "Series",
    "Source",
    "Split",
    "Task",
    "Training",
    "Transforms",
    "Verdict",
    "Weights",
    "discover",
    "variant_of",
]
