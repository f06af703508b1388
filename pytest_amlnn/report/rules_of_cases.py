"""What one case shows of how it learned: a rule each, the most telling first.

A rule gives a sentence with the numbers that it rests on, or nothing. Only the first that holds
is said of a case.
"""

from __future__ import annotations

from collections.abc import Callable

from pytest_amlnn.comparison import compare
from pytest_amlnn.gates.verdict import SUSPICIOUS, Verdict
from pytest_amlnn.report.facts import Facts, score_of
from pytest_amlnn.report.rules_of_faults import CLEAR, FAULTS, trained_on_noise
from pytest_amlnn.report.sentences import Sentence, sentence
from pytest_amlnn.report.words import count, either, known, number, percent, points
from pytest_amlnn.result import FINISHED, Run

FITTED = 0.8
"""Training accuracy below which a net does not fit its training examples."""
SATURATED = 0.9
"""Training accuracy above which there is little left to learn from the training examples."""
WIDE = 0.15
"""Gap between training and test accuracy of a net that overfits."""
FALLING, FALLING_TOO = 0.075, 0.02
"""Shares of its training and its validation loss that a net still loses at the end if more
epochs would help. Of nine trainings of nets of the quick suite that lose so much, eight were
better with twice the epochs. A falling validation loss alone was right of five in eight, for
annealing lowers it anyway."""
RISEN = 0.1
"""Share by which the validation loss ends above its lowest if training went on for too long,
and by which the training loss fell meanwhile."""
JUMPED = 0.25
"""Share of the first epoch's loss that a loss must leap to."""
JUMP = 1.5
"""Ratio of the training losses of two epochs that no sound training shows."""
UNSURE = 0.1
"""Calibration error from which confidences are not to be taken for chances."""


def noisy_labels(case: Facts) -> Sentence | None:
    """Say that training labels are harder to get right than test labels for no other reason."""
    if not trained_on_noise(case):
        return None
    train, test = case.end_of("accuracy"), case.mean("test_accuracy")
    return sentence(
        noisy_labels,
        [case],
        f"{case.name} gets more of the test examples right ({percent(test)}) than of its"
        f" training examples ({percent(train)}), and is less sure ({percent(case.confidence)})"
        " than it is right: a part of the training labels is likely wrong, unless the net"
        " drops units in training.",
        f"training accuracy changed by {points(case.change_of('accuracy'))} over {case.end}",
    )


def is_large(jump: tuple[float, Run, int]) -> bool:
    """Return whether a loss leapt to a fair part of where it began."""
    _, run, epoch = jump
    first, after = (score_of(run.epochs[n], "loss", False) for n in (0, epoch - 1))
    return first is None or (after is not None and after > JUMPED * first)


def unstable(case: Facts) -> Sentence | None:
    """Say that the training loss leapt up."""
    leaps = [jump for jump in case.jumps if jump[0] > JUMP and is_large(jump)]
    if 2 * len(leaps) < len(case.result.runs) or not leaps:
        return None
    _, run, epoch = max(leaps, key=lambda jump: jump[0])
    before, after = (run.epochs[number - 1] for number in (epoch - 1, epoch))
    norm = after.gradient_norm
    return sentence(
        unstable,
        [case],
        f"The training of {case.name} is unstable: in epoch {epoch} of seed {run.seed} its"
        f" training loss rose from {number(before.train['loss'])} to"
        f" {number(after.train['loss'])}. A lower learning rate, or clipping, is likely to"
        " help.",
        f"so in {len(leaps)} of {count(len(case.result.runs), 'run')}",
        f"norm of the gradient {number(norm)} in that epoch" if known(norm) else "",
    )


def too_few_epochs(case: Facts) -> Sentence | None:
    """Say that the budget ended while the net still learned."""
    training, validation = case.falling(), case.falling(validation=True)
    train = case.mean("train_accuracy")
    if case.used_up < 0.5 or case.best_is_last < 0.5 or training is None:
        return None
    if training < FALLING or validation is None or validation < FALLING_TOO:
        return None
    if (train or 0.0) > SATURATED and (case.gap or 0.0) >= WIDE:
        return None  # it needs other examples more than more of the same
    best = round(case.best_is_last * len(case.result.runs))
    return sentence(
        too_few_epochs,
        [case],
        f"{case.name} was still learning when its budget of"
        f" {count(round(case.epochs or 0), 'epoch')} was used up: over {case.end} its training"
        f" loss fell by {percent(training)}, its validation loss by {percent(validation)}. More"
        " epochs are likely to help.",
        f"{best} of {count(len(case.result.runs), 'run')} best in the last epoch",
        "" if train is None else f"training accuracy {percent(train)}",
    )


def too_few_examples(case: Facts) -> Sentence | None:
    """Say that a net knows its training examples, and not what they have in common."""
    train, test, gap = case.mean("train_accuracy"), case.mean("test_accuracy"), case.gap
    if train is None or gap is None or gap < (WIDE if train >= FITTED else 2 * WIDE):
        return None
    examples = case.counts.get("train", case.size)
    return sentence(
        too_few_examples,
        [case],
        f"{case.name} overfits: it gets {percent(train)} of its {examples:,} training examples"
        f" right, and {percent(test)} of new ones. More data, augmentation or regularisation"
        " are likely to help.",
        f"gap between training and test accuracy {points(gap)}",
        f"validation loss ends {percent(case.risen)} above its lowest" if case.risen else "",
    )


def too_small(case: Facts) -> Sentence | None:
    """Say that a net cannot even fit its training examples, and no longer gets better."""
    train, gap, change = case.end_of("accuracy"), case.gap, case.change_of("accuracy")
    if train is None or gap is None or change is None or case.made_harder:
        return None
    low = (case.mean("chance") or 0.0) + CLEAR
    settled = abs(change) < 0.6 * CLEAR and (case.falling() or 0.0) < FALLING
    if not (low < train < FITTED and abs(gap) < 2 * CLEAR and settled):
        return None
    parameters = case.mean("parameters")
    size = f"with {parameters:,.0f} parameters " if parameters else ""
    return sentence(
        too_small,
        [case],
        f"{case.name} underfits: {size}it gets {percent(train)} of its own training examples"
        " right, and no longer improves. The net is too small, or the classes overlap.",
        f"training accuracy changed by {points(change)} over {case.end}; gap to the test"
        f" {points(gap)}",
    )


def trained_too_long(case: Facts) -> Sentence | None:
    """Say that the validation loss rose again."""
    risen, fell = case.risen, case.fell_on
    if risen is None or risen < RISEN or case.best_is_last > 0.5 or not fell or fell < RISEN:
        return None
    best = sorted({run.best_epoch for run in case.result.runs if run.best_epoch})
    epochs = either([*map(str, best)]) if len(best) < 4 else f"{best[0]} to {best[-1]}"
    return sentence(
        trained_too_long,
        [case],
        f"{case.name} overfits: after epoch {epochs}, whose weights were tested, its validation"
        f" loss rose by {percent(risen)} while its training loss fell by {percent(fell)}. More"
        " epochs do not help.",
        f"mean of {count(len(case.result.runs), 'run')} of {number(case.epochs)} epochs",
    )


def no_better_than_a_line(case: Facts) -> Sentence | None:
    """Say that a linear autoregression forecasts as well."""
    ours, theirs = (
        [run.value(name) for run in case.result.runs]
        for name in ("test_mse", "autoregression_mse")
    )
    found = compare(ours, theirs, by="ratio")
    spread = found.spread
    if spread.mean is None or spread.low is None or spread.high is None or spread.high < 1:
        return None
    against = "is worse than" if spread.low > 1 else "cannot be told from"
    floor, naive = case.mean("efficiency"), case.mean("last_value_mse")
    return sentence(
        no_better_than_a_line,
        [case],
        f"{case.name} {against} a linear autoregression by least squares on the same windows:"
        f" its MSE is {number(spread.mean)} times as large [{number(spread.low)},"
        f" {number(spread.high)}].",
        f"MSE {number(case.mean('test_mse'))} and {number(case.mean('autoregression_mse'))},"
        f" paired by {count(len(ours), 'seed')}",
        f"efficiency {number(floor)} of the oracle's 1" if floor is not None else "",
        f"MSE {number(naive)} by repeating the last value" if naive is not None else "",
    )


def overconfident(case: Facts) -> Sentence | None:
    """Say that the confidences of a net are not chances of being right."""
    error, sure, test = case.calibration_error, case.confidence, case.mean("test_accuracy")
    if error is None or sure is None or test is None or error < UNSURE:
        return None
    if abs(sure - test) < CLEAR:
        return None  # now too sure, now too little
    side = "overconfident" if sure > test else "underconfident"
    return sentence(
        overconfident,
        [case],
        f"{case.name} is {side}: it gives its answers a chance of {percent(sure)} on average,"
        f" and {percent(test)} of them are right.",
        f"expected calibration error {points(error)}",
    )


OfCase = Callable[[Facts], Sentence | None]
OF_CASE: tuple[OfCase, ...] = (
    *FAULTS,
    noisy_labels,
    unstable,
    too_few_epochs,
    too_few_examples,
    too_small,
    trained_too_long,
    no_better_than_a_line,
    overconfident,
)


def of_case(case: Facts, verdict: Verdict | None) -> Sentence | None:
    """Return what is to be said of a case; what the gate finds too good comes first."""
    too_good = [j for j in verdict.judgements if j.verdict == SUSPICIOUS] if verdict else []
    if too_good and case.result.status == FINISHED:
        text = f"{case.name} is suspicious: {too_good[0].needs}."
        return sentence(SUSPICIOUS, [case], text, *too_good[0].why)
    return next((found for rule in OF_CASE if (found := rule(case))), None)
