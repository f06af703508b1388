"""Classification of sequences of tokens: our classification with another kind of input."""

import numpy as np
from torch import nn

from pytest_amlnn import (
    Case,
    Classification,
    DataError,
    Pictures,
    Recipe,
    Source,
    Split,
    Training,
)

WORDS, LENGTH, CLASSES = 20, 12, ("even", "odd", "mixed")


class Tokens(Classification):
    """One class for each sequence of int64 tokens (n, length)."""

    name = "tokens"

    def check(self, splits, recipe):
        super().check(splits, recipe)
        for name in ("train", "validation", "test"):
            tokens = getattr(splits, name).inputs
            if tokens.dtype != np.int64 or not 0 <= tokens.min() <= tokens.max() < WORDS:
                raise DataError(f"{name} split: needs int64 tokens from 0 to {WORDS - 1}")


class Bag(nn.Module):
    """The mean of the tokens' embeddings, and a layer on top."""

    def __init__(self, outputs):
        super().__init__()
        self.embedding, self.head = nn.Embedding(WORDS, 16), nn.Linear(16, outputs)

    def forward(self, tokens):
        return self.head(self.embedding(tokens).mean(1))


def sentences(*, size):
    random = np.random.RandomState(0)

    def split(name, count):
        labels = np.arange(count) % len(CLASSES)
        tokens = random.randint(0, WORDS // 2, (count, LENGTH)) * 2
        odd = (labels == 1)[:, None] | ((labels == 2)[:, None] & (np.arange(LENGTH) % 2 == 0))
        labels[::40] = 0  # some are wrong: nobody is right on all
        names = [f"{name}{i}" for i in range(count)]
        return Split(inputs=tokens + odd, rows=np.arange(count), targets=labels, names=names)

    return Pictures(
        train=split("a", size),
        validation=split("b", 60),
        test=split("c", 240),
        classes=CLASSES,
        facts={"name": "sentences", "digest": "1", "counts": {"test": 240}},
    )


DATA = Source(name="sentences", open=sentences, arguments={"size": 300})
RECIPE = Recipe(epochs=5, learning_rate=0.05, optimizer="adam", threads=1)
TRAINING = Training(model="bag", build=Bag, recipe=RECIPE, task=Tokens(), data=DATA)
CASES = [Case(training=TRAINING, size=300, label="bag-300", family="text", repeats=2)]
