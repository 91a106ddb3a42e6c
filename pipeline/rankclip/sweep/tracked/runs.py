"""The runs below a sweep's in MLflow: how each is opened, followed to its end, and named as a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rankclip.sweep.outcome import Outcome, Setting
from rankclip.sweep.tracked import page, rows, values
from rankclip.sweep.tracked.rows import Rerun, Row
from rankclip.tracking import RunLog, Tracker, Weights, link, name_winner
from rankclip.training.request import METRICS, TrainRequest
from rankclip.training.run import WEIGHTS


class Children:
    """The runs below a sweep's, which is the `parent` that each is given."""

    def __init__(self, tracker: Tracker, key: str, folder: Path, commit: str) -> None:
        """
        Args:
            key: of the sweep, which tells its runs from those of other sweeps of the same name.
            folder: where what was sent is noted.
            commit: of the code, a tag of each.
        """
        self._tracker, self._key, self._folder, self._commit = tracker, key, folder, commit
        self._runs: dict[str, RunLog] = {}
        self._ended: set[str] = set()

    def follow(self, row: Row, outcome: Outcome, parent: RunLog) -> None:
        """Sends what is new of a run, once it has begun and until its end was sent."""
        curve = row.request.folder / METRICS
        if row.name in self._ended or (not row.status and not curve.exists()):
            return
        if row.name not in self._runs:
            self._runs[row.name] = self._open(row, outcome, parent)
        log = self._runs[row.name]
        log.follow(curve)
        log.tag({tag: text for tag, text in row.state.items() if text})
        if row.status:
            log.log_values(values.ends(curve, outcome.spec.aims))
            if row.kind == "rerun":
                link(self._tracker, weights(row.request, log))
            if log.finish(row.status):
                self._ended.add(row.name)

    def interrupt(self) -> None:
        """Ends those that have not: a later driver may take them up."""
        for name, log in self._runs.items():
            if name not in self._ended:
                log.tag({"state": "interrupted"})
                log.finish("KILLED")

    def mean(self, outcome: Outcome, setting: Setting, reruns: Sequence[Rerun], parent: RunLog) -> None:
        """A run for a setting with the means over its re-runs, since MLflow's tables know no intervals."""
        done = [one.request for one in reruns if one.of(setting) and one.request.finished]
        if not done:
            return
        log = self._open(rows.of_setting(setting, done[0]), outcome, parent)
        won = outcome.winners.get(setting.arm) == setting
        log.tag({"state": "finished", "seeds": str(len(done)), "winner": "yes" if won else "no"})
        ends = [values.ends(one.folder / METRICS, outcome.spec.aims) for one in done]
        log.log_values(values.aggregates(ends))
        log.finish()

    def name_winners(self, outcome: Outcome, reruns: Sequence[Rerun]) -> None:
        """Tags each re-run with whether its setting won."""
        for rerun in reruns:
            won = any(rerun.of(setting) for setting in outcome.winners.values())
            if log := self._of(rerun):
                log.tag({"winner": "yes" if won else "no"})

    def models(self, outcome: Outcome, reruns: Sequence[Rerun]) -> None:
        """The winners' weights, of the seed that validates best, as versions of one registered model."""
        best = values.best(outcome)
        for arm, setting in outcome.winners.items():
            seed = values.best_seed(setting, outcome.spec.aims[0])
            text = f"{arm}, {setting.name}: {page.mean(setting)}. The weights are of seed {seed}."
            for rerun in reruns:
                log = self._of(rerun)
                if log and rerun.of(setting) and rerun.request.seed == seed:
                    aliases = [f"winner-{arm}", *(["winner"] if setting == best else [])]
                    model = f"rankclip-{outcome.study}-{outcome.name}"
                    name_winner(self._tracker, model, weights(rerun.request, log), aliases, text)

    def _of(self, rerun: Rerun) -> RunLog | None:
        return self._runs.get(rows.of_rerun(rerun).name)

    def _open(self, row: Row, outcome: Outcome, parent: RunLog) -> RunLog:
        params = values.params(row.arm, row.request, outcome.spec.space)
        tags = {**row.tags, "git_commit": self._commit}
        if row.kind == "setting":
            del params["seed"]  # it is of several
        else:
            tags |= page.colour(outcome, row.arm)
        return self._tracker.open_run(
            row.name,
            f"{self._key}/{row.name}",
            self._folder / row.name.replace(" ", "-"),
            params=params,
            tags=tags,
            data_digest=row.request.shards_digest[:16],
            parent=parent,
            resume=not row.status,
        )


def weights(request: TrainRequest, log: RunLog) -> Weights:
    """The weights of a finished run, as MLflow lists them."""
    name = request.key.replace("/", "-")
    return Weights(log, name, (request.folder / WEIGHTS).absolute().as_uri(), {"seed": str(request.seed)})
