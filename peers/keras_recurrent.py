"""The same recurrent nets in Keras 3, on the backend that KERAS_BACKEND names.

    KERAS_BACKEND=jax python -m peers.keras_recurrent SERIES.npz SETTINGS.json

trains the whole experiment and prints each test error in original units. Weights are drawn
as torch draws them, so that both sides start alike.
"""

from __future__ import annotations

import json
import math
import sys
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import keras
import numpy as np
from keras import layers

from peers.workers import serve


class UpAndDown(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of each step: up in a line, down in a half cosine."""

    def __init__(self, peak: float, warmup: float, steps: int) -> None:
        self.peak, self.warmup, self.steps = peak, warmup, steps

    def __call__(self, step: Any) -> Any:
        """Return the rate in the middle of a step."""
        progress = (keras.ops.cast(step, "float32") + 0.5) / self.steps
        down = (1 + keras.ops.cos(math.pi * (progress - self.warmup) / (1 - self.warmup))) / 2
        return self.peak * keras.ops.where(progress < self.warmup, progress / self.warmup, down)


def build(model: str, window: int, steps: int, settings: dict[str, Any], seed: int) -> Any:
    """Return a compiled net, its weights drawn as ours are.

    Recurrent ones are orthogonal, all others uniform within 1 / sqrt(units).
    """
    keras.utils.set_random_seed(seed)
    units = settings["units"]

    def uniform(inputs: int) -> Any:
        return keras.initializers.RandomUniform(-(inputs**-0.5), inputs**-0.5)

    same = {
        "kernel_initializer": uniform(units),
        "recurrent_initializer": "orthogonal",
        "bias_initializer": uniform(units),
    }
    cells = {
        "lstm": lambda: [layers.LSTM(units, unit_forget_bias=False, **same)],
        "gru": lambda: [layers.GRU(units, **same)],
        "birnn": lambda: [layers.Bidirectional(layers.SimpleRNN(units, **same))],
        "deep_rnn": lambda: [
            layers.SimpleRNN(units, return_sequences=True, **same),
            layers.SimpleRNN(units, **same),
        ],
    }[model]()
    width = uniform(2 * units if model == "birnn" else units)
    head = layers.Dense(1, kernel_initializer=width, bias_initializer=width)
    net = keras.Sequential([keras.Input((window, 1)), *cells, head])
    rate = UpAndDown(settings["learning_rate"], settings["warmup"], steps)
    adam = keras.optimizers.Adam(rate, epsilon=1e-8, global_clipnorm=settings["clip_norm"])
    net.compile(optimizer=adam, loss="mse")
    return net


def experiment(series: Path, settings: dict[str, Any]) -> None:
    """Train all nets, and print a line of JSON for each."""
    arrays = np.load(series)
    for model, size, seed in product(settings["models"], settings["sizes"], settings["seeds"]):
        part = {
            name: (arrays[f"{size}-{seed}-{name}-x"], arrays[f"{size}-{seed}-{name}-y"])
            for name in ("train", "validation", "test")
        }
        count, window, _ = part["train"][0].shape
        batch, epochs = settings["batch_size"], settings["epochs"]
        net = build(model, window, epochs * math.ceil(count / batch), settings, seed)
        keep = keras.callbacks.EarlyStopping(patience=epochs, restore_best_weights=True)
        start = perf_counter()
        net.fit(
            *part["train"],
            validation_data=part["validation"],
            batch_size=batch,
            epochs=epochs,
            callbacks=[keep],
            verbose=0,
        )
        seconds = perf_counter() - start
        forecasts = net.predict(part["test"][0], batch_size=256, verbose=0)
        scale = float(arrays[f"{size}-{seed}-scale"])
        error = float(np.mean(((forecasts - part["test"][1]) * scale) ** 2))
        print(json.dumps([model, size, seed, error, seconds]), flush=True)
        keras.backend.clear_session()


ready: dict[str, Any] = {}


def prepare(model: str, series: str, settings: dict[str, Any]) -> float:
    """Build, train an epoch on 3,000 points, and return how long that took."""
    keras.backend.clear_session()
    arrays = np.load(series)
    inputs, targets = arrays["3000-0-train-x"], arrays["3000-0-train-y"]
    steps = math.ceil(len(inputs) / settings["batch_size"])
    net = build(model, inputs.shape[1], 20 * steps, settings, 0)

    def epoch() -> float:
        start = perf_counter()
        net.fit(inputs, targets, batch_size=settings["batch_size"], epochs=1, verbose=0)
        return (perf_counter() - start) / steps

    ready["epoch"] = epoch
    first = epoch() * steps
    epoch()
    return first


if __name__ == "__main__":
    if len(sys.argv) > 1:
        experiment(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()))
    else:
        serve({"prepare": prepare, "epoch": lambda: ready["epoch"]()})
