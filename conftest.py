"""Wiring: where the cases of this repository get their data and weights."""

from dataclasses import replace

import pytest

from amlnn_datasets import tiny_imagenet as archive
from amlnn_models import weights as imagenet
from pytest_amlnn import Case, Source, Weights
from pytest_amlnn.options import Options
from pytest_amlnn.plugin import options_of


def pytest_amlnn_check(options: Options) -> None:
    """Check the archive that cases of this profile may be trained on, before any is."""
    given = options.data.get(archive.NAME)
    if given or options.profile != "quick":
        path = archive.locate(given)
        if path is not None:
            archive.check(path)
    if options.weights:
        imagenet.check(options.weights)


def pytest_amlnn_unavailable(case: Case, options: Options) -> str | None:
    """Say why a case cannot run here: no weights to start from."""
    if case.training.start != "imagenet":
        return None
    return imagenet.unavailable(case.training.model, options.weights)


@pytest.fixture
def pictures(case: Case, pytestconfig: pytest.Config) -> Source:
    """The source of a picture case: embedded shapes, or Tiny ImageNet where it lies here."""
    data = case.training.data
    return data.at(options_of(pytestconfig).data.get(data.name))


@pytest.fixture
def tiny_imagenet(pictures: Source) -> Source:
    """The source of a case on Tiny ImageNet, which decodes it once into a cache on disk."""
    return pictures


@pytest.fixture
def weights(case: Case, pytestconfig: pytest.Config) -> Weights | None:
    """The ImageNet weights that a case starts from; None where it starts at random."""
    if case.training.start == "random":
        return None
    asked = options_of(pytestconfig).weights
    found = imagenet.find(case.training.model, asked)
    if found is None:  # they were there when cases were collected
        pytest.skip(imagenet.unavailable(case.training.model, asked) or "")
    return replace(found, know_classes=case.training.data.name == archive.NAME)


@pytest.fixture
def series(case: Case) -> Source:
    """The source of a case on synthetic series; the seed draws the noise."""
    return case.training.data
