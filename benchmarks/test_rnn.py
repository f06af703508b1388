"""Nets on synthetic series: each forecasts as well as its limits say."""

import pytest

import amlnn_models


@pytest.mark.amlnn_cases(amlnn_models, family="rnn")
def test_rnn(case, series, train, gate):
    """Training ends within the limits set for the case."""
    verdict = gate(train(case, series))

    assert verdict.passed, verdict.message
