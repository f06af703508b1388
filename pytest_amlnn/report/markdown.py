"""report.md: the comparison for people."""

from __future__ import annotations

from pytest_amlnn.gate import PASSED, judge
from pytest_amlnn.report import Sweep
from pytest_amlnn.report.table import escape, tables

NOTES = (
    "Intervals are 95 %: Student's t over the seeds; Wilson's over the test examples where"
    " one run is all there is. Training seconds count forward, backward and optimizer"
    " steps, with the making of their batches. Start is the accuracy on the validation"
    " pictures before the first step, of nets that start from trained weights; added is by"
    " how many points it rose on these pictures. Efficiency is the oracle's MSE over the"
    " model's: 1 cannot be beaten for long. Against autoregression stands its MSE over the"
    " model's, seed by seed, and which of them is the better one beyond the interval. An"
    " original loss is in min-max-scaled units of another series, so it stands there for the"
    " record only."
)


def text(sweep: Sweep) -> str:
    """Return the whole report as Markdown."""
    parts = [heading(sweep)]
    parts += [f"## {escape(title)}\n\n{rows}" for title, rows in tables(sweep, "github")]
    for title, lines in (
        ("Limits not kept", unkept(sweep)),
        ("Runs in trouble", troubles(sweep)),
        ("Skipped", [f"{case['id']}: {case['reason']}" for case in sweep.skipped]),
        ("Missing", [f"{case['id']}: {case['reason']}" for case in sweep.missing]),
    ):
        if lines:
            parts.append(f"## {title}\n\n" + "\n".join(f"- {escape(line)}" for line in lines))
    return "\n\n".join([*parts, NOTES]) + "\n"


def heading(sweep: Sweep) -> str:
    """Return what was run, and on what machine."""
    facts = sweep.environment
    options = sweep.plan["options"]
    lines = [f"# Profile {options['profile']}", ""]
    if facts:
        packages = facts["packages"]
        lines.append(
            f"{facts['accelerator'] or facts['processor']}, {facts['cores']} cores,"
            f" Python {facts['python']}, torch {packages['torch']}, timm {packages['timm']}"
        )
    for name, dataset in facts.get("datasets", {}).items():
        counts = ", ".join(f"{n:,} {split}" for split, n in dataset.get("counts", {}).items())
        lines.append(f"- {name}: {counts}; digest {str(dataset.get('digest'))[:12]}")
    return "\n".join(lines)


def unkept(sweep: Sweep) -> list[str]:
    """Return a line for each limit that was not kept."""
    verdicts = [judge(result, sweep.limits) for result in sweep.results]
    return [str(j) for v in verdicts for j in v.judgements if j.verdict != PASSED]


def troubles(sweep: Sweep) -> list[str]:
    """Return a line for each run that did not finish."""
    return [line for result in sweep.results for line in result.troubles]
