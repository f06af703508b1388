"""Wiring: which dataset a case of this repository is trained on."""

import pytest

from amlnn_datasets import series as synthetic
from amlnn_datasets import shapes
from amlnn_datasets import tiny_imagenet as archive
from amlnn_models import weights as imagenet
from pytest_amlnn import Case, DataError
from pytest_amlnn.data import Data, Weights
from pytest_amlnn.options import Options
from pytest_amlnn.plugin import options_of


def pytest_amlnn_check(options: Options) -> None:
    """Check the archive that cases of this profile may be trained on, before any is."""
    path = archive.located(options.data)
    if path is not None and (options.data or options.profile != "quick"):
        archive.check(path)
    imagenet.check(options.weights)


def pytest_amlnn_unavailable(case: Case, options: Options) -> str | None:
    """Say why a case cannot run here: no Tiny ImageNet, or no weights to start from."""
    if case.dataset != "tiny-imagenet":
        return None
    reason = archive.unavailable(archive.located(options.data), **case.data)
    if reason is None and case.init == "imagenet":
        reason = imagenet.unavailable(case.model, options.weights)
    return reason


@pytest.fixture
def pictures(request: pytest.FixtureRequest, case: Case) -> Data:
    """The splits of a picture case: embedded shapes, or Tiny ImageNet."""
    if case.dataset == "tiny-imagenet":
        return request.getfixturevalue("tiny_imagenet")
    splits = shapes.splits(**case.data)
    return lambda seed: splits


@pytest.fixture
def tiny_imagenet(case: Case, pytestconfig: pytest.Config) -> Data:
    """The splits of a case on Tiny ImageNet, decoded once into a cache on disk."""
    path = archive.located(options_of(pytestconfig).data)
    try:
        splits = archive.splits(path, **case.data)
    except DataError as error:
        pytest.fail(str(error), pytrace=False)
    return lambda seed: splits


@pytest.fixture
def weights(case: Case, pytestconfig: pytest.Config) -> Weights | None:
    """The ImageNet weights that a case starts from; None where it starts at random."""
    if case.init == "random":
        return None
    asked = options_of(pytestconfig).weights
    found = imagenet.find(case.model, asked)
    if found is None:  # they were there when cases were collected
        pytest.skip(imagenet.unavailable(case.model, asked) or "")
    return found


@pytest.fixture
def series(case: Case) -> Data:
    """The splits of a case on synthetic series; the seed draws the noise."""
    return lambda seed: synthetic.splits(**case.data, seed=seed)
