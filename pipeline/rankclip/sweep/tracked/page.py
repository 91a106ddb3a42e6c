"""What the page of a sweep in MLflow says and shows when it is opened."""

from __future__ import annotations

from collections.abc import Sequence

from rankclip.evaluation.statistics import estimate
from rankclip.sweep.outcome import Outcome, Setting
from rankclip.sweep.space import Choice
from rankclip.sweep.tracked import values
from rankclip.tracking import COMPARISON, VIEW_TAG, path
from rankclip.tracking import view as views

BY_ARM = "by-arm"
"""Name of the view that averages over the runs of an arm."""

NOTE = "mlflow.note.content"
"""Tag of an experiment's or a run's description, in Markdown."""

COLOUR = "mlflow.runColor"
"""Tag of a run: its colour in charts."""

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#f0e442", "#000000")
"""Those of arms; eight that can be told apart by all (Okabe and Ito, 2008)."""

FOLDED = ("Model metrics", "agg", "agg/val", "best/val", "final", "final/val", "val")
"""Sections that MLflow makes of the names of metrics, which are there but closed."""


def tags(outcome: Outcome, experiment_id: str) -> dict[str, str]:
    """Tags of the experiment: its description, and the views that it can be opened with."""
    return {
        NOTE: note(outcome, experiment_id),
        f"{VIEW_TAG}{COMPARISON}": comparison(outcome),
        f"{VIEW_TAG}{BY_ARM}": by_arm(outcome),
    }


def colour(outcome: Outcome, arm: str) -> dict[str, str]:
    """The tag that gives a run its arm's colour; none where there is but one arm, so that runs differ."""
    arms = list(outcome.steps)
    return {COLOUR: COLOURS[arms.index(arm) % len(COLOURS)]} if len(arms) > 1 else {}


def note(outcome: Outcome, experiment_id: str) -> str:
    """The description, in Markdown."""
    aim = outcome.spec.aims[0]
    better = "larger" if aim.mode == "max" else "smaller"
    states = values.counts(outcome)
    ended = ", ".join(f"{number} {name.removeprefix('trials.')}" for name, number in states.items())
    return "\n".join(
        [
            f"**{outcome.spec.question}**",
            "",
            f"Trials: {ended}. {'Ended: ' + outcome.ended + '.' if outcome.ended else 'It goes on.'}",
            "",
            *_table(outcome),
            "",
            f"- [Charts]({_link(experiment_id, COMPARISON)}): one line or point a run; of several arms "
            "each has its colour. Look for a searched key whose best runs lie together; where they lie "
            "anywhere, the key matters little.",
            f"- [Table]({_link(experiment_id, COMPARISON, charts=False)}): sorted by "
            f"`final/{aim.metric}`, {better} is better. It is of the step where a run ended, `final/step`: "
            "one that was stopped early is behind for that too.",
            f"- [By arm]({_link(experiment_id, BY_ARM)}): each arm's winner, averaged over its seeds.",
            "",
            f"The best of many noisy trials is not as good as it looks: compare settings by "
            f"`agg/{aim.metric}_mean`, its mean over fresh seeds, and by the interval beside it. "
            "All numbers are of validation data: `final/...` at a run's end, `best/...` the best it read.",
        ]
    )


def _link(experiment_id: str, view: str, charts: bool = True) -> str:
    return path(experiment_id, view, charts).removeprefix("/")


def _table(outcome: Outcome) -> list[str]:
    if not outcome.settings:
        return ["No setting was trained again yet, so there is no winner."]
    sign = -outcome.spec.aims[0].sign
    ranked = sorted((one for one in outcome.settings if one.scores), key=lambda one: sign * values.mean(one))
    head = f"| arm | setting | {outcome.spec.aims[0].metric}, mean over fresh seeds | searched keys |"
    return [head, "|---|---|---|---|", *(_row(outcome, setting) for setting in ranked)]


def _row(outcome: Outcome, setting: Setting) -> str:
    values = ", ".join(f"`{key}` {_short(value)}" for key, value in setting.values.items())
    won = outcome.winners.get(setting.arm) == setting
    name = f"**{setting.name}, winner**" if won else setting.name
    return f"| {setting.arm} | {name} | {mean(setting)} | {values or 'as in the arm'} |"


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def mean(setting: Setting) -> str:
    """A setting's mean with its interval, in words."""
    got = estimate.mean_interval(list(setting.scores.values()))
    interval = f" (95 % interval {got.low:.4f} to {got.high:.4f})" if got.has_interval else ""
    return f"{got.mean:.4f}{interval}, {got.n} seed{'s' if got.n != 1 else ''}"


def comparison(outcome: Outcome) -> str:
    """The view of all runs: the table's columns, and charts of what was searched and trained again."""
    aim = outcome.spec.aims[0]
    final = f"final/{aim.metric}"
    searched = list(outcome.spec.space)
    lines = views.parallel("What was searched", [*_arms(outcome), *searched], ["final/step", final])
    others = [f"final/{other.metric}" for other in outcome.spec.aims[1:]]
    return views.shared(
        columns=_columns(outcome, searched),
        order=views.metric(final),
        descending=aim.mode == "max",
        where="tags.`rankclip.kind` != 'sweep'",
        sections=[
            views.Section("What was searched: one line a run, coloured by how good it is", [lines], 1, 400),
            views.Section(
                "Settings trained again, mean over seeds; and all curves",
                [views.bar(f"agg/{aim.metric}_mean"), views.line(aim.metric), *map(views.bar, others)],
                2,
                360,
            ),
            views.Section("One searched key at a time: one point a run", _planes(outcome, final), 3, 330),
        ],
        folded=FOLDED,
    )


def by_arm(outcome: Outcome) -> str:
    """The view that averages over an arm: over its winner's seeds, or over its trials before there is one."""
    aim = outcome.spec.aims[0]
    final = f"final/{aim.metric}"
    won = "tags.`rankclip.kind` = 'rerun' AND tags.winner = 'yes'"
    title = "Mean over the winner's seeds, by arm" if outcome.winners else "Mean over all trials, by arm"
    return views.shared(
        columns=_columns(outcome, list(outcome.spec.space)),
        order=views.metric(final),
        descending=aim.mode == "max",
        where=won if outcome.winners else "tags.`rankclip.kind` = 'trial'",
        sections=[views.Section(title, [views.bar(final), views.line(aim.metric)], 2, 400)],
        folded=FOLDED,
        group_by="arm",
    )


def _columns(outcome: Outcome, searched: Sequence[str]) -> list[str]:
    aims = [aim.metric for aim in outcome.spec.aims]
    return [
        *(views.tag(name) for name in ("rankclip.kind", "state")),
        views.param("arm"),
        *(views.metric(f"final/{name}") for name in aims),
        views.metric(f"agg/{aims[0]}_mean"),
        *(views.param(key) for key in searched),
        views.metric("final/step"),
        views.param("seed"),
    ]


def _arms(outcome: Outcome) -> list[str]:
    return ["arm"] if len({trial.arm for trial in outcome.trials}) > 1 else []


def _planes(outcome: Outcome, final: str) -> list[views.Chart]:
    """The first aim over each searched range, and over the first two of them together."""
    ranges = [key for key, its in outcome.spec.space.items() if not isinstance(its, Choice)]
    columns = [views.param(key) for key in ranges]
    points = [views.scatter(column, views.metric(final)) for column in columns[:5]]
    both = [views.contour(columns[0], columns[1], views.metric(final))] if len(columns) > 1 else []
    return [*both, *points]
