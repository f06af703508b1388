"""How far the runs are that are trained together, as a value and as a line of text."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from time import perf_counter

from rich.cells import cell_len

from pytest_amlnn.result import Epoch
from pytest_amlnn.time_left import Pace, clock


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far runs are: plain data, which can be left on the disk."""

    id: str
    """Of the case."""
    seeds: tuple[int, ...]
    """Those that are trained at once just now."""
    epoch: int
    epochs: int
    """The budget."""
    share: float
    """Of the budget, from 0 to 1."""
    losses: tuple[str, ...] = ()
    """Of the last epoch, in words: in training, in validation."""
    scores: tuple[str, ...] = ()
    """Of the last epoch, in words."""
    speed: float = 0.0
    """Examples a second in this epoch, validation left out."""
    seconds_left: float | None = None
    """If the budget is used up; None before the second step."""
    stage: str = ""
    """What is done instead of taking steps, if anything is."""
    waiting: bool = False
    """Whether another training has what these runs need."""

    @property
    def title(self) -> str:
        """Case and seeds."""
        plural = "seeds" if len(self.seeds) > 1 else "seed"
        return f"{self.id} {plural} {', '.join(map(str, self.seeds))}"

    def line(self, *more: str, width: int | None = None) -> str:
        """Return epoch, losses, scores, speed, time left, and whatever is to follow.

        Where this takes more cells than `width`, speed, scores and losses are left out, in
        this order, as many as must be.
        """
        if self.stage:
            return ", ".join([f"{self.title}: {self.stage}", *more])
        speed = [f"{self.speed:,.0f}/s"]
        details = [*self.losses, *self.scores, *speed]
        left = [] if self.seconds_left is None else [f"{clock(self.seconds_left)} left"]
        epoch = f"epoch {self.epoch}/{self.epochs}"
        while True:
            line = ", ".join([self.title, epoch, *details, *left, *more])
            if width is None or cell_len(line) <= width or not details:
                return line
            details.pop()


@dataclass
class Tally:
    """What is known of the runs under way."""

    id: str
    """Of the case."""
    epochs: int
    """The budget."""
    seeds: Sequence[int] = ()
    """Those that are trained at once just now."""
    shares: Collection[str] = ()
    """Scores that are shown in per cent."""
    started: float = field(default_factory=perf_counter)
    epoch_started: float = field(default_factory=perf_counter)
    share: float = 0.0
    """Of the budget, from 0 to 1."""
    resumed: float | None = None
    """Share of the budget that an earlier attempt had used up."""
    first: tuple[float, float] = (0.0, 0.0)
    """Share of the budget and time after the first step, which takes longer than others."""
    speed: float = 0.0
    number: int = 1
    stage: str = ""
    waiting: bool = False
    last: dict[int, Epoch] = field(default_factory=dict)
    """Of each seed, its last epoch."""
    sweep_left: Callable[[Sequence[float]], float | None] | None = None
    """Returns the seconds until the sweep ends, given those of the runs under way; None where
    no other runs follow."""

    def note(self, text: str) -> None:
        """Take note of what the runs wait for."""
        self.stage, self.waiting = text, True

    def begin(self) -> None:
        """Take note that the runs have what they waited for: time counts from now on."""
        self.stage, self.waiting = "preparing", False
        self.started = self.epoch_started = perf_counter()

    def step(
        self, seeds: Sequence[int], epoch: int, step: int, steps: int, examples: int
    ) -> None:
        """Take note of a step."""
        self.seeds, self.number, self.stage = seeds, epoch, ""
        now = perf_counter()
        self.share = (epoch - 1 + step / steps) / self.epochs
        self.speed = examples / max(now - self.epoch_started, 1e-9)
        if self.resumed is None:
            self.resumed, self.first = (epoch - 1) / self.epochs, (self.share, now)

    def epoch(self, seed: int, epochs: Sequence[Epoch]) -> None:
        """Take note of a finished epoch; the next one starts now."""
        self.last[seed] = epochs[-1]
        self.epoch_started = perf_counter()

    def spent(self, cost: float) -> Pace:
        """Return what the runs took, now that they have ended; `cost` is what they were to."""
        begun = 1 - (self.resumed or 0.0)
        return Pace(cost=cost * begun, seconds=perf_counter() - self.started)

    @property
    def title(self) -> str:
        """Case and seeds."""
        return self.standing.title

    def line(self, *, width: int | None = None) -> str:
        """Return how far the runs are, and the time left of the sweep once it is known."""
        standing, more = self.standing, []
        if self.sweep_left is not None:
            own = [] if standing.seconds_left is None else [standing.seconds_left]
            left = self.sweep_left(own)
            more = [] if left is None else [f"sweep {clock(left)} left"]
        return standing.line(*more, width=width)

    @property
    def seconds_left(self) -> float | None:
        """Of the runs, if the budget is used up; None before the second step."""
        share, since = self.first
        if self.share == share < 1:
            return None
        passed = perf_counter() - since
        return passed * (1 - self.share) / (self.share - share) if self.share < 1 else 0.0

    @property
    def standing(self) -> Standing:
        """How far the runs are now."""
        last = [self.last[seed] for seed in self.seeds if seed in self.last]
        names = list(last[0].validation) if last else []
        return Standing(
            id=self.id,
            seeds=tuple(self.seeds),
            epoch=self.number,
            epochs=self.epochs,
            share=self.share,
            losses=losses_in_words(last),
            scores=tuple(self.score(name, last) for name in names if name != "loss"),
            speed=self.speed,
            seconds_left=self.seconds_left,
            stage=self.stage,
            waiting=self.waiting,
        )

    def score(self, name: str, last: Sequence[Epoch]) -> str:
        """Return a score of each seed's last epoch as text, a share in per cent."""
        form = ".1%" if name in self.shares else ".4g"
        return " ".join([name, *(format(epoch.validation[name], form) for epoch in last)])


def losses_in_words(last: Sequence[Epoch]) -> tuple[str, ...]:
    """Return the losses of each seed's last epoch as text; nothing before there is one."""
    trained = " ".join(f"{epoch.train['loss']:.4g}" for epoch in last)
    validated = " ".join(f"{epoch.validation['loss']:.4g}" for epoch in last)
    return (f"loss {trained}", f"validation {validated}") if last else ()
