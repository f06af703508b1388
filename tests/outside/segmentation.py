"""Segmentation: a class for each pixel of a picture, scored by pixels and by overlap."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from pytest_amlnn import Case, Examples, Metric, Recipe, Scored, Source, Split, Task, Training

SIDE = 16
SHARE = {"share": True, "format": "{:.1f}"}
PIXELS = Metric(name="test_pixels", better="higher", head="pixels %", **SHARE)
OVERLAP = Metric(name="test_iou", better="higher", head="IoU %", **SHARE)
BACKGROUND = Metric(name="background", better="neither", head="all background %", **SHARE)


class Segmentation(Task):
    """A net maps (n, 1, side, side) to (n, 2, side, side); targets are (n, side, side)."""

    name = "segmentation"
    metrics = (PIXELS, OVERLAP)
    columns = (PIXELS, OVERLAP, BACKGROUND)

    def outputs(self, splits):
        return 2

    def loss(self, outputs, targets, recipe):
        return cross_entropy(outputs.float(), targets)

    def training_scores(self, outputs, targets):
        return {"pixels": (outputs.argmax(1) == targets).float().mean((1, 2)).sum()}

    def score(self, part, splits, recipe):
        return SegmentationScore()

    def baselines(self, splits):
        return {"background": float((splits.test.targets == 0).mean())}


class SegmentationScore:
    def __init__(self):
        self.losses, self.right, self.maps, self.both, self.either = [], [], [], 0, 0

    def add(self, outputs, targets):
        said = outputs.argmax(1)
        self.losses += cross_entropy(outputs, targets, reduction="none").mean((1, 2)).tolist()
        self.right += (said == targets).float().mean((1, 2)).tolist()
        self.both += int((said & targets).sum())
        self.either += int((said | targets).sum())
        self.maps.append(said.to(torch.uint8).cpu())

    def result(self):
        loss, pixels = (sum(each) / len(each) for each in (self.losses, self.right))
        metrics = {"test_pixels": pixels, "test_iou": self.both / max(self.either, 1)}
        answers = {"said": torch.cat(self.maps).numpy()}
        return Scored(loss=loss, scores={"pixels": pixels}, metrics=metrics, answers=answers)


def discs(*, size, seed):
    random, axis = torch.Generator().manual_seed(seed), torch.arange(SIDE)

    def split(count):
        x, y = (torch.randint(4, SIDE - 4, (count, 1, 1), generator=random) for _ in "xy")
        inside = ((axis - x) ** 2 + (axis[:, None] - y) ** 2 < 16).long().numpy()
        noise = 0.3 * torch.randn(count, 1, SIDE, SIDE, generator=random).numpy()
        inputs = inside[:, None].astype("float32") + noise
        names = [*map(str, range(count))]
        rows = torch.arange(count).numpy()
        return Split(inputs=inputs, rows=rows, targets=inside, names=names)

    return Examples(train=split(size), validation=split(20), test=split(40))


def conv(outputs):
    return nn.Conv2d(1, outputs, 3, padding=1)


DATA = Source(name="discs", open=discs, arguments={"size": 64}, seeded=True)
RECIPE = Recipe(epochs=15, learning_rate=0.1, optimizer="adam", threads=1)
TRAINING = Training(model="conv", build=conv, recipe=RECIPE, task=Segmentation(), data=DATA)
CASES = [Case(training=TRAINING, size=64, label="conv-64", family="maps", repeats=2)]
