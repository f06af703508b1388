"""Convolutional nets on pictures: each learns what its limits say."""

import pytest

import amlnn_models


@pytest.mark.amlnn_cases(amlnn_models, family="cnn")
def test_cnn(case, pictures, weights, train, gate):
    """Training ends within the limits set for the case."""
    verdict = gate(train(case, pictures, weights))

    assert verdict.passed, verdict.message
