"""Changes of a recipe, a net or its weights: each is compared with its base, seed by seed."""

import pytest

import amlnn_models


@pytest.mark.improvement
@pytest.mark.amlnn_cases(amlnn_models, family="improvement")
def test_improvement(case, weights, train, gate):
    """Base and change are trained with the same seeds; the report says what it is worth."""
    verdict = gate(train(case, weights=weights))

    assert verdict.passed, verdict.message
