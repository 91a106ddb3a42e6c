"""What a sweep answers of each arm, as numbers and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rankclip.evaluation.statistics import additive
from rankclip.evaluation.statistics.additive import NO_DIFFERENCE, Difference
from rankclip.evaluation.statistics.correction import adjusted
from rankclip.evaluation.statistics.estimate import NOTHING, Estimate, mean_interval
from rankclip.report import labels
from rankclip.sweep import standing
from rankclip.sweep.ledger import Trial
from rankclip.sweep.outcome import AS_IT_IS, Outcome, Setting
from rankclip.sweep.shown import words

LEVEL = 0.95
CONFIDENCE = f"{100 * LEVEL:g} % interval"


@dataclass(frozen=True)
class Answer:
    """What is known of one arm; numbers are the first aim's."""

    arm: str
    trials: Sequence[Trial]
    settings: Sequence[Setting]
    """Those of its re-runs."""
    winner: Setting | None
    best: Trial | None
    """The best finished trial: one seed, best of many."""

    def level(self, setting: Setting | None) -> Estimate:
        """Mean of a setting over its re-run seeds."""
        return NOTHING if setting is None else mean_interval(list(setting.scores.values()), LEVEL)

    def named(self, name: str) -> Setting | None:
        """A re-run setting."""
        return next((setting for setting in self.settings if setting.name == name), None)

    def gain(self, setting: Setting | None) -> Difference:
        """A re-run setting minus the arm as it is, of equal seeds, the variance pooled over all settings."""
        as_it_is = self.named(AS_IT_IS)
        if setting is None or as_it_is is None or setting.name == AS_IT_IS:
            return NO_DIFFERENCE
        return minus(setting.scores, as_it_is.scores, [each.scores for each in self.settings])

    def stands(self, setting: Setting) -> bool:
        """Whether its gain leaves zero out though it was chosen among the re-run settings (Holm)."""
        others = [each for each in self.settings if each.name != AS_IT_IS]
        p = adjusted([self.gain(each).p for each in others])
        return setting in others and p[others.index(setting)] < 1 - LEVEL


def minus(
    own: Mapping[int, float], other: Mapping[int, float], all_: Sequence[Mapping[int, float]]
) -> Difference:
    """`own` minus `other` of their common seeds; the variance is of all that have these seeds."""
    seeds = own.keys() & other.keys()
    if not seeds:
        return NO_DIFFERENCE
    pooled = [each for each in all_ if seeds <= each.keys() and each is not own and each is not other]
    named = dict(zip("ab", (own, other), strict=True))
    named |= {f"other {number}": each for number, each in enumerate(pooled)}
    shared = {name: {seed: each[seed] for seed in seeds} for name, each in named.items()}
    return additive.fit(shared).difference("a", "b", LEVEL)


def answers(outcome: Outcome) -> list[Answer]:
    """One answer an arm, in the order of the sweep."""
    aim = outcome.spec.aims[0]
    found = []
    for arm in outcome.steps:
        trials = [trial for trial in outcome.trials if trial.arm == arm]
        finished = [trial for trial in trials if trial.state == "finished"]
        settings = [setting for setting in outcome.settings if setting.arm == arm and setting.scores]
        best = standing.best(finished, aim)
        found.append(Answer(arm, trials, settings, outcome.winners.get(arm), best))
    return found


def between(outcome: Outcome) -> list[tuple[Setting, Setting, Difference, bool]]:
    """The winners of the arms, each with the first arm's and the difference to it, of equal seeds.

    And whether that leaves zero out among all these differences (Holm).
    """
    won = [outcome.winners[arm] for arm in outcome.steps if arm in outcome.winners]
    scores = [each.scores for each in won]
    found = [minus(each.scores, scores[0], scores) for each in won[1:]]
    sure = [p < 1 - LEVEL for p in adjusted([each.p for each in found])]
    return [(each, won[0], gain, stands) for each, gain, stands in zip(won[1:], found, sure, strict=True)]


def sentences(answer: Answer, outcome: Outcome) -> list[str]:
    """The answer for one arm in words."""
    return [said for said in (_won(answer, outcome), _luck(answer, outcome)) if said]


def _won(answer: Answer, outcome: Outcome) -> str:
    aim, winner = outcome.spec.aims[0], answer.winner
    arm, names = labels.arm(answer.arm), words.short(list(outcome.spec.space))
    if winner is None:
        if answer.best is None:
            return f"{arm}: no trial has finished, so there is nothing to choose from."
        read = words.reading(aim, answer.best.last(aim.metric))
        return (
            f"{arm}: no winner yet. {answer.best.name} leads with {read}, one seed and the best of many, "
            "which its re-runs have still to bear out."
        )
    level = answer.level(winner)
    seeds = labels.count(level.n, "fresh seed")
    read = f"{words.reading(aim, level.mean)} over {seeds}{_around(answer, winner, outcome)}"
    if winner.name == AS_IT_IS:
        return f"{arm}: nothing that was tried beats the arm as it is, which reads {read}."
    gain, as_it_is = answer.gain(winner), answer.level(answer.named(AS_IT_IS))
    said = f"{arm}: {winner.name} ({words.values(winner.values, names)}) reads {read}"
    if not gain.n:
        return f"{said}. The arm as it is was not trained again, so there is no difference to tell of."
    ends = words.interval(aim, gain, signed=True)
    around = f" ({CONFIDENCE} {ends})" if gain.has_interval else " (no interval)"
    among = labels.count(sum(each.name != AS_IT_IS for each in answer.settings), "setting")
    verdict = "which other seeds could turn into nothing"
    if answer.stands(winner):
        verdict = f"which stands for the best of {among} (Holm)"
    elif gain.excludes_zero:
        verdict = f"which leaves zero out by itself and not as the best of {among} (Holm)"
    return (
        f"{said}; as it is, {words.reading(aim, as_it_is.mean)} with the same seeds: "
        f"{words.difference(aim, gain.mean)}{around}, {verdict}."
    )


def _around(answer: Answer, setting: Setting, outcome: Outcome) -> str:
    level = answer.level(setting)
    if level.has_interval:
        return f" ({CONFIDENCE} {words.interval(outcome.spec.aims[0], level)})"
    return " (one seed, no interval)" if level.n == 1 else " (equal for all seeds, no interval)"


def _luck(answer: Answer, outcome: Outcome) -> str:
    aim, best = outcome.spec.aims[0], answer.best
    if best is None or not answer.settings:
        return ""
    # the best is always trained again: a trial that is not there has the settings of the arm as it is
    again = answer.named(best.short) or answer.named(AS_IT_IS)
    read = best.last(aim.metric)
    if again is None or read is None:
        return ""
    mean, sign = answer.level(again).mean, aim.sign
    finished = sum(trial.state == "finished" for trial in answer.trials)
    said = (
        f"The best of {labels.count(len(answer.trials), 'trial')} ({finished} of them finished), "
        f"{best.name.rpartition('/')[2]}, read {words.reading(aim, read)} with one seed and "
        f"{words.reading(aim, mean)} over {labels.count(len(again.scores), 'fresh seed')}: "
    )
    size = words.difference(aim, abs(read - mean)).lstrip("+")
    return said + (f"{size} less, as the best of many is." if sign * (read - mean) > 0 else "not less.")


def work(answer: Answer, outcome: Outcome) -> str:
    """What the trials of an arm took, beside what all of them would have to their ends."""
    done = sum(map(standing.step, answer.trials))
    whole = outcome.steps[answer.arm] * len(answer.trials)
    seconds = sum(trial.seconds for trial in answer.trials)
    share = f" ({100 * done / whole:.0f} % of all to their ends)" if whole else ""
    return f"{done:,} steps{share}, {words.duration(seconds)} of training"
