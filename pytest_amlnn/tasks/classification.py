"""Classification: one class for each example, of pictures or of anything else.

`CLASSIFICATION` is of pictures; `Classification` takes inputs of any kind as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_amlnn.arrays import for_torch
from pytest_amlnn.checks import check_magnitudes, check_splits
from pytest_amlnn.data import SPLITS, Pictures, Split, Weights, facts_of
from pytest_amlnn.metrics import Column, Metric, Paired
from pytest_amlnn.statistics import IMPLAUSIBLE, chance_of_so_few, chance_of_so_many
from pytest_amlnn.tasks import Part, Scored, Task
from pytest_amlnn.tasks.label_checks import check_classes, check_labels
from pytest_amlnn.tasks.picture_checks import check_pictures

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from pytest_amlnn.recipe import Recipe
    from pytest_amlnn.steps import Feed

TEST_ACCURACY = Metric(
    name="test_accuracy",
    better="higher",
    share=True,
    of_examples=True,
    head="accuracy %",
    format="{:.1f}",
    interval=True,
    essential=True,
)
TEST_TOP5 = Metric(
    name="test_top5",
    better="higher",
    share=True,
    of_examples=True,
    head="top-5 %",
    format="{:.1f}",
)
TEST_LOSS = Metric(
    name="test_loss", better="lower", unit="nats", positive=True, head="loss", format="{:.3f}"
)
TRAIN_ACCURACY = Metric(name="train_accuracy", better="higher", share=True)
VAL_ACCURACY = Metric(name="val_accuracy", better="higher", share=True)
START_ACCURACY = Metric(
    name="start_accuracy",
    better="higher",
    share=True,
    head="start %",
    format="{:.1f}",
    optional=True,
    sentence="Start is the accuracy on the validation examples before the first step, of nets"
    " that start from trained weights.",
)
START_LOSS = Metric(name="start_loss", better="lower", unit="nats", positive=True)
ADDED = Paired(
    metric="val_accuracy",
    other="start_accuracy",
    by="difference",
    head="added",
    format="{:+.1f}",
    share=True,
    optional=True,
    sentence="Added is by how many points training raised the accuracy on the validation"
    " examples.",
)
CHANCE = Metric(
    name="chance",
    better="neither",
    share=True,
    head="chance %",
    format="{:.1f}",
    essential=True,
)
TOP = 5


class Classification(Task):
    """One of several classes for each example."""

    name = "classification"
    metrics: tuple[Metric, ...] = (
        TEST_ACCURACY,
        TEST_TOP5,
        TEST_LOSS,
        TRAIN_ACCURACY,
        VAL_ACCURACY,
        START_ACCURACY,
        START_LOSS,
    )
    columns: tuple[Column, ...] = (
        START_ACCURACY,
        ADDED,
        TEST_ACCURACY,
        CHANCE,
        TEST_TOP5,
        TEST_LOSS,
    )

    def check(self, splits: Pictures, recipe: Recipe) -> None:
        """Refuse labels that are no class; raises DataError."""
        check_splits(splits)
        check_magnitudes(splits)
        check_classes(splits)
        for name in SPLITS:
            check_labels(name, getattr(splits, name), len(splits.classes))

    def outputs(self, splits: Pictures) -> int:
        """Return one output a class."""
        return len(splits.classes)

    def output_shape(self, splits: Pictures) -> tuple[int, ...]:
        """Return one logit a class."""
        return (len(splits.classes),)

    def builder_arguments(self, splits: Pictures, weights: Weights) -> dict[str, Any]:
        """Return weights and class names, which the rows of a head are chosen by."""
        return {"weights": weights, "classes": splits.classes}

    def feed(
        self, split: Split, splits: Pictures, recipe: Recipe, device: torch.device
    ) -> Feed:
        """Return what gives inputs as they are, and int64 labels (n,)."""
        from pytest_amlnn.steps import feed_of_tensors

        inputs = for_torch(split.inputs[split.rows])
        return feed_of_tensors(inputs, split.targets.astype("int64"), device)

    def loss(self, outputs: Tensor, targets: Tensor, recipe: Recipe) -> Tensor:
        """Return the mean cross-entropy of logits (n, classes), in nats.

        Targets are labels (n,), or shares (n, classes) where examples were mixed.
        """
        from torch.nn.functional import cross_entropy

        smoothing = recipe.label_smoothing
        return cross_entropy(outputs.float(), targets, label_smoothing=smoothing)

    def training_scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return how many examples are classified right."""
        wanted = targets if targets.ndim == 1 else targets.argmax(1)
        return {"accuracy": (outputs.argmax(1) == wanted).sum()}

    def score(self, part: Part, splits: Pictures, recipe: Recipe) -> ClassificationScore:
        """Return what scores logits (n, classes)."""
        return ClassificationScore(len(getattr(splits, part)), final=part == "test")

    def facts(self, splits: Pictures) -> dict[str, Any]:
        """Return what the dataset says of itself, with the classes; words stand elsewhere."""
        said = {name: fact for name, fact in facts_of(splits).items() if name != "words"}
        return {**said, "classes": list(splits.classes)}

    def baselines(self, splits: Pictures) -> dict[str, float]:
        """Return the accuracy of guessing."""
        return {"chance": 1 / len(splits.classes)}

    def implausible_start(self, scored: Scored, splits: Pictures) -> str:
        """Say that trained weights begin at chance; examples too few to tell tell nothing."""
        count, chance = len(splits.validation), 1 / len(splits.classes)
        right = round(scored.scores["accuracy"] * count)
        if chance_of_so_many(count, count, chance) >= IMPLAUSIBLE:
            return ""
        if chance_of_so_many(right, count, chance) < IMPLAUSIBLE:
            return ""
        return (
            f"before training {right / count:.4f} of {count} validation pictures were right,"
            f" and chance is {chance:.4f}: the weights are of another variant of the net, the"
            " recipe's mean and deviation are not theirs, rows of their head do not follow the"
            " class order, or its resolution is too far from that they were made at"
        )

    def implausible(self, scored: Scored, splits: Pictures) -> str:
        """Say that the test accuracy lies far below chance."""
        count, chance = len(splits.test), 1 / len(splits.classes)
        right = round(scored.metrics["test_accuracy"] * count)
        if chance_of_so_few(right, count, chance) >= IMPLAUSIBLE:
            return ""
        return (
            f"test accuracy {right / count:.4f} ({right} of {count}) is significantly below"
            f" chance, {chance:.4f}: the label map is broken; check that train and test name"
            " their classes in the same order"
        )


class PictureClassification(Classification):
    """One of several classes for each picture, uint8 (n, height, width, 3)."""

    def check(self, splits: Pictures, recipe: Recipe) -> None:
        """Refuse pictures that are not uint8 RGB, and labels that are no class; DataError."""
        super().check(splits, recipe)
        for name in SPLITS:
            check_pictures(name, getattr(splits, name))

    def network(self, net: nn.Module, device: torch.device) -> nn.Module:
        """Put a net on the device, in the memory format that convolutions are fastest in."""
        from pytest_amlnn.tasks.pictures import channels_last

        return channels_last(net, device)

    def feed(
        self, split: Split, splits: Pictures, recipe: Recipe, device: torch.device
    ) -> Feed:
        """Return what gives normalised pictures, augmented in training, and labels."""
        from pytest_amlnn.tasks.pictures import feed_of_pictures

        return feed_of_pictures(split, len(splits.classes), recipe, device)


class ClassificationScore:
    """Keeps of each example its loss, and of test examples the most likely classes."""

    def __init__(self, count: int, *, final: bool) -> None:
        from pytest_amlnn.steps import Rows

        self.final = final
        self.losses, self.labels, self.hits = (Rows(count) for _ in range(3))
        self.ranked, self.confidences = (Rows(count) for _ in range(2))

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in logits (n, classes) and labels (n,)."""
        if self.final:
            # on the CPU: devices break ties in different ways
            outputs, targets = outputs.cpu(), targets.cpu()
            confidences, ranked = outputs.softmax(1).topk(min(TOP, outputs.shape[1]))
            self.ranked.append(ranked)
            self.confidences.append(confidences)
        self.losses.append(outputs.log_softmax(1).gather(1, targets[:, None]))
        self.hits.append(outputs.argmax(1) == targets)
        self.labels.append(targets)

    def result(self) -> Scored:
        """Return loss and accuracy; of test examples top-5 accuracy and most likely classes."""
        from torch.nn.functional import nll_loss

        labels = self.labels.filled_rows
        # summed as cross_entropy sums the losses of a whole split: the same bits
        loss = nll_loss(self.losses.filled_rows, labels.new_zeros(len(labels))).item()
        scores = {"accuracy": self.hits.filled_rows.sum().item() / len(labels)}
        if not self.final:
            return Scored(loss=loss, scores=scores)
        ranked, confidences = self.ranked.filled_rows, self.confidences.filled_rows
        right = ranked == labels[:, None]
        return Scored(
            loss=loss,
            scores=scores,
            metrics={
                "test_accuracy": right[:, 0].sum().item() / len(labels),
                "test_top5": right.any(1).sum().item() / len(labels),
                "test_loss": loss,
            },
            answers={
                "label": labels.numpy(),
                "predicted": ranked[:, 0].contiguous().numpy(),
                "top5": ranked.numpy(),
                "confidence": confidences[:, 0].contiguous().numpy(),
                "top5_confidence": confidences.numpy(),
            },
        )


CLASSIFICATION = PictureClassification()
