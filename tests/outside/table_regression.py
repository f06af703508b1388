"""Regression on rows of a table: a task with its own metric R², and the mean as baseline."""

import numpy as np
from torch import nn
from torch.nn.functional import mse_loss

from pytest_amlnn import (
    Case,
    Examples,
    Metric,
    Paired,
    Recipe,
    Scored,
    Source,
    Split,
    Task,
    Training,
)

TEST_R2 = Metric(name="test_r2", better="higher", head="R²", format="{:.3f}", interval=True)
TEST_MSE = Metric(name="test_mse", better="lower", positive=True, head="MSE")
MEAN_MSE = Metric(name="mean_mse", better="lower", positive=True, head="mean's MSE")
AGAINST_MEAN = Paired(
    metric="test_mse", other="mean_mse", by="ratio", head="against the mean", ranked=True
)


class Regression(Task):
    """One value for each row of float32 inputs (n, features)."""

    name = "regression"
    metrics = (TEST_R2, TEST_MSE, MEAN_MSE)
    columns = (TEST_R2, TEST_MSE, MEAN_MSE, AGAINST_MEAN)

    def outputs(self, splits):
        return 1

    def loss(self, outputs, targets, recipe):
        return mse_loss(outputs[:, 0].float(), targets)

    def score(self, part, splits, recipe):
        return RegressionScore(float(splits.train.targets.mean()))


class RegressionScore:
    def __init__(self, mean):
        self.mean, self.said, self.truth = mean, [], []

    def add(self, outputs, targets):
        self.said += outputs[:, 0].tolist()
        self.truth += targets.tolist()

    def result(self):
        said, truth = np.array(self.said), np.array(self.truth)
        mse, mean_mse = ((said - truth) ** 2).mean(), ((self.mean - truth) ** 2).mean()
        metrics = {"test_r2": 1 - mse / truth.var(), "test_mse": mse, "mean_mse": mean_mse}
        scores, answers = {"r2": metrics["test_r2"]}, {"said": said, "truth": truth}
        return Scored(loss=mse, scores=scores, metrics=metrics, answers=answers)


def rows(*, size, seed):
    random = np.random.RandomState(seed)

    def split(count):
        inputs = random.randn(count, 4).astype("float32")
        targets = inputs @ np.float32([1, -2, 0.5, 0]) + random.randn(count).astype("float32")
        rows, names = np.arange(count), [*map(str, range(count))]
        return Split(inputs=inputs, rows=rows, targets=targets, names=names)

    return Examples(train=split(size), validation=split(50), test=split(200))


def line(outputs):
    return nn.Linear(4, outputs)


DATA = Source(name="rows", open=rows, arguments={"size": 200}, seeded=True)
RECIPE = Recipe(epochs=15, learning_rate=0.1, optimizer="adam", threads=1)
TRAINING = Training(model="line", build=line, recipe=RECIPE, task=Regression(), data=DATA)
CASES = [Case(training=TRAINING, size=200, label="line-200", family="table", repeats=2)]
