"""Changes of a recipe, a net or its weights that are compared with a base, seed by seed."""

from __future__ import annotations

from amlnn_models import lstm
from pytest_amlnn import Case, variant_of

BASE = next(c for c in lstm.CASES if (c.profile, c.label) == ("quick", "lstm-1000"))
CASES: list[Case] = [
    variant_of(BASE, "epochs_x2", recipe={"epochs": 16}, advice="More epochs"),
    variant_of(BASE, "rate_x3", recipe={"learning_rate": 0.03}, advice="Tuned learning rate"),
    variant_of(BASE, "rate_third", recipe={"learning_rate": 0.003}),
]
