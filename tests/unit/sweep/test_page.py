"""What a sweep came to, in the terminal and on its page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rankclip.sweep.ledger import Trial
from rankclip.sweep.outcome import AS_IT_IS, Setting
from rankclip.sweep.shown import answers, page, settings_section, trials_section
from rankclip.sweep.shown.importance import Importance, Share
from tests.unit.sweep.outcomes import CROSS, END, IN, LR, SEEDS, outcome, sweep, trials

BETTER = outcome()


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Two repeats say as much here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rankclip.sweep.shown.importance.REPEATS", 2)
        yield


def text_of(html: str) -> str:
    parts: list[str] = []
    parser = HTMLParser()
    parser.handle_data = parts.append  # type: ignore[assignment, method-assign]
    parser.feed(html)
    return " ".join(" ".join(parts).split())


@pytest.fixture(scope="module")
def shown(quick: None) -> str:
    return page.page(BETTER)


def test_the_answer_names_the_winner_its_mean_and_its_difference_to_the_arm_as_it_is() -> None:
    [said, _] = answers.sentences(answers.answers(BETTER)[0], BETTER)
    winner = BETTER.winners["rankclip"]
    assert said.startswith(f"RankCLIP: {winner.name} (rank_cross.weight.final ")
    assert "over 3 fresh seeds (95 % interval " in said
    assert "; as it is, 46.0 % with the same seeds: +2." in said
    assert said.endswith("which stands for the best of 2 settings (Holm).")


def shaken(scores: Mapping[int, float]) -> dict[int, float]:
    return {seed: score + (0.06 if seed == SEEDS[0] else -0.03) for seed, score in scores.items()}


def test_a_gain_that_other_seeds_could_turn_is_told_so() -> None:
    noisy = [
        setting if setting.name == AS_IT_IS else replace(setting, scores=shaken(setting.scores))
        for setting in BETTER.settings
    ]
    found = replace(BETTER, settings=noisy, winners={"rankclip": noisy[1]})
    [said, _] = answers.sentences(answers.answers(found)[0], found)
    assert "which other seeds could turn into nothing" in said


def scored(name: str, *scores: float) -> Setting:
    return Setting("rankclip", name, {}, dict(zip(SEEDS, scores, strict=True)))


def test_the_variance_is_pooled_over_all_settings_of_the_arm() -> None:
    own = [scored(AS_IT_IS, 0.40, 0.41, 0.43), scored("trial-001", 0.42, 0.42, 0.46)]
    others = [scored(f"trial-{number:03d}", 0.41, 0.40, 0.42) for number in range(2, 6)]
    for settings, degrees in (([*own, *others], 10), (own, 2)):
        found = replace(BETTER, settings=settings, winners={"rankclip": own[1]})
        gain = answers.answers(found)[0].gain(own[1])
        assert (gain.n, gain.degrees) == (3, degrees)
        assert gain.mean == pytest.approx(0.02)


def test_a_gain_must_stand_though_it_is_the_best_of_several() -> None:
    own = [scored(AS_IT_IS, 0.400, 0.400, 0.400), scored("trial-001", 0.418, 0.411, 0.433)]
    others = [scored(f"trial-{number:03d}", 0.41, 0.40, 0.395) for number in range(2, 4)]
    found = replace(BETTER, settings=[*own, *others], winners={"rankclip": own[1]})
    answer = answers.answers(found)[0]
    assert 0.05 / 3 < answer.gain(own[1]).p < 0.05
    assert not answer.stands(own[1])
    said = answers.sentences(answer, found)[0]
    assert said.endswith("which leaves zero out by itself and not as the best of 3 settings (Holm).")


def test_how_much_of_the_best_trial_was_luck_is_told() -> None:
    [_, luck] = answers.sentences(answers.answers(BETTER)[0], BETTER)
    assert re.fullmatch(
        r"The best of 24 trials \(8 of them finished\), trial-\d+, read [\d.]+ % with one seed and [\d.]+ % "
        r"over 3 fresh seeds: [\d.]+ points less, as the best of many is\.",
        luck,
    )


def test_the_luck_of_a_trial_that_is_the_arm_as_it_is_follows_from_the_re_runs_of_the_arm() -> None:
    [best] = [trial for trial in BETTER.trials if trial is answers.answers(BETTER)[0].best]
    settings = [each for each in BETTER.settings if not best.name.endswith(each.name)]
    found = replace(BETTER, settings=settings, winners={"rankclip": settings[0]})
    [_, luck] = answers.sentences(answers.answers(found)[0], found)
    assert f", {best.name.partition('/')[2]}, read " in luck
    assert "and 46.0 % over 3 fresh seeds: " in luck


def test_an_arm_that_nothing_beats_is_named_as_it_is() -> None:
    found = outcome(gain=-0.05)
    assert found.winners["rankclip"].name == AS_IT_IS
    said = "\n".join(page.lines(found))
    assert (
        "RankCLIP: nothing that was tried beats the arm as it is, which reads 46.0 % over 3 fresh seeds"
        in said
    )


def test_seeds_that_only_one_setting_has_are_no_pair() -> None:
    own, other = {1: 0.5, 2: 0.6, 3: 0.9}, {1: 0.4, 2: 0.45, 4: 0.1}
    found = answers.minus(own, other, [own, other])
    assert (found.n, found.mean) == (2, pytest.approx(0.125))
    assert answers.minus({1: 0.5}, {2: 0.5}, []).n == 0


def test_arms_are_compared_at_their_best() -> None:
    found = outcome(arms=("clip", "rankclip"))
    [said] = settings_section.across(found)
    assert said.startswith(
        "RankCLIP at its best minus CLIP at its best, equal seeds, equal budgets: 0.0 points"
    )
    assert said.endswith("), which does not stand.")


def test_several_arms_are_corrected_together_and_unequal_budgets_are_named() -> None:
    found = outcome(arms=("clip", "rankclip", "cyclip"))
    assert all(
        "does not stand among 2 such differences (Holm)" in said for said in settings_section.across(found)
    )
    fewer = replace(found, trials=found.trials[1:])
    assert all("equal seeds, unequal budgets" in said for said in settings_section.across(fewer))
    far = {**found.winners["cyclip"].scores}
    far = {seed: score + 0.3 + 0.001 * (seed % 2) for seed, score in far.items()}
    winners = {**found.winners, "cyclip": replace(found.winners["cyclip"], scores=far)}
    assert "which stands among 2" in settings_section.across(replace(found, winners=winners))[1]


def test_before_the_re_runs_there_is_no_winner() -> None:
    early = replace(BETTER, settings=[], winners={}, ended="")
    said = "\n".join(page.lines(early))
    assert "This sweep goes on." in said
    assert "no winner yet" in said
    assert "None yet: the best trials are trained again" in text_of(page.page(early))


@pytest.mark.parametrize("ended", ["", "out of budget", "stopped"])
def test_a_sweep_without_a_finished_trial_has_a_page(ended: str) -> None:
    nothing = replace(BETTER, trials=[], settings=[], winners={}, ended=ended)
    failed = replace(trials(count=1)[0], state="failed", reports=(), error="no <GPU> left")
    for found in (nothing, replace(nothing, trials=[failed])):
        assert "no trial has finished, so there is nothing to choose from" in "\n".join(page.lines(found))
        assert "no trial has finished" in text_of(page.page(found))
    assert "no &lt;GPU&gt; left" in page.page(found)


def test_every_trial_is_accounted_for_and_errors_are_quoted() -> None:
    made = trials()
    made[1] = replace(made[1], state="failed", error="the loss is not finite")
    made[2] = replace(made[2], state="proposed", reports=())
    found = replace(BETTER, trials=made)
    said = "\n".join(page.lines(found))
    assert "RankCLIP: 24 trials: 8 finished, 14 stopped, 1 failed, 1 unfinished; " in said
    assert "rankclip/trial-001 failed: the loss is not finite" in said
    content = text_of(page.page(found))
    assert "rankclip/trial-001: the loss is not finite" in content
    assert all(trial.name in content for trial in made)


def test_the_work_is_told_beside_that_of_all_trials_to_their_ends() -> None:
    [answer] = answers.answers(BETTER)
    # 8 trials of 90 steps, 16 of 10
    assert answers.work(answer, BETTER) == "880 steps (41 % of all to their ends), 0:01:20 of training"


def test_the_page_needs_nothing_else_and_is_the_same_each_time(shown: str, tmp_path: Path) -> None:
    assert page.write(BETTER, tmp_path) == tmp_path / "index.html"
    assert (tmp_path / "index.html").read_text(encoding="utf-8") == shown
    assert not re.search(r'(src|href)="(?!#|data:)', shown)
    assert "<script" not in shown
    assert "default-src 'none'" in shown


def test_the_page_has_every_plot_with_identifiers_of_its_own(shown: str) -> None:
    drawings = re.findall(r"<svg .*?</svg>", shown, re.DOTALL)
    assert len(drawings) == 3  # landscape, parallel coordinates, cost
    identifiers: list[str] = []
    for drawing in drawings:
        tree = ET.fromstring(drawing.replace("xlink:href", "href"))
        identifiers += [each.attrib["id"] for each in tree.iter() if "id" in each.attrib]
    assert len(identifiers) == len(set(identifiers))
    assert "not searched" in shown


def test_several_aims_have_a_front() -> None:
    made = [trial for trial in trials() if trial.state == "finished"]
    both = replace(BETTER, spec=sweep(aims=2), trials=made)
    assert "What cannot be had together" in page.page(both)


def test_two_weights_of_the_objective_are_drawn_before_more_important_keys() -> None:
    ranked: Mapping[str, Share] = {key: Share(0.1, 0.0, 0.2) for key in (LR, END, IN, CROSS)}
    found = Importance(10, 20, 0.5, ranked)
    space = sweep().space
    assert trials_section.pair(space, found) == [CROSS, IN]
    assert trials_section.pair({key: space[key] for key in (CROSS, END, LR)}, found) == [END, LR]
    assert trials_section.pair({CROSS: space[CROSS]}, None) == [CROSS]


def test_two_weights_that_no_trial_has_together_are_not_drawn_over_each_other() -> None:
    made = [
        replace(trial, values={key: value for key, value in trial.values.items() if key != hidden})
        for trial, hidden in zip(BETTER.trials, [CROSS, IN] * 12, strict=True)
    ]
    assert "Over rank_cross" not in page.page(replace(BETTER, trials=made))
    assert "All trials" in page.page(replace(BETTER, trials=made))


def test_a_sweep_of_one_key_or_of_choices_alone_has_a_page() -> None:
    space = sweep().space
    for keys in ([CROSS], [END]):
        spec = BETTER.spec.model_copy(update={"space": {key: space[key] for key in keys}})
        made = [
            Trial(t.arm, t.number, {key: t.values[key] for key in keys}, t.state, t.reports)
            for t in BETTER.trials
        ]
        assert "All trials" in page.page(replace(BETTER, spec=spec, trials=made, settings=[], winners={}))
