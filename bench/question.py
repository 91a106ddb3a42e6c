"""The question on `shapes`: does ranking help a CLIP tuned with the same budget, and is it the ranking?

    python -m bench.question collect    # from results/, runs/ and reports/ to docs/results/*.csv
    python -m bench.question            # from these the tables of docs/results/ranking.md, and its plots

`docs/results/ranking.md` says how the studies are run. What it says in tables is written by this program
between marks; what they mean is written by hand.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from bench import question_plots, question_tables
from bench.question_tables import SCORES, SETTINGS, TRIALS

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "results"
PAGE = "ranking.md"
SWEEP = Path("reports/shapes/sweep-equal-budgets")
WORLDS = {
    "shapes-tuned": 0.1,
    "shapes-ambiguity-0": 0.0,
    "shapes-ambiguity-3": 0.3,
    "shapes-ambiguity-6": 0.6,
}
"""Studies, and the share of vague captions of their worlds."""
KEPT = {
    ("top1", "zero_shot"),
    ("image_to_text_r1", "five_captions"),
    ("text_to_image_r1", "five_captions"),
    ("image_image_spearman", "latents"),
    ("cross_modal_tau", "rank_consistency"),
}
"""Metrics and protocols of test that are kept."""


def main(arguments: Sequence[str]) -> None:
    """Collects, or writes the tables and draws."""
    if arguments == ["collect"]:
        collected: dict[str, Sequence[Mapping[str, object]]] = {SCORES: list(scores(ROOT))}
        if not collected[SCORES]:
            raise SystemExit(
                f"{ROOT / 'results'} has none of {', '.join(WORLDS)}; run them first, see {PAGE}"
            )
        collected |= {name: question_tables.rows_of(ROOT / SWEEP / name) for name in (SETTINGS, TRIALS)}
        for name, rows in collected.items():
            write(OUT / name, rows)
            print(f"{OUT / name}: {len(rows)} rows")
        return
    found = question_tables.read(OUT)
    page = (OUT / PAGE).read_text(encoding="utf-8")
    (OUT / PAGE).write_text(with_tables(page, question_tables.tables(found, OUT)), encoding="utf-8")
    question_plots.draw(found, OUT)


def scores(root: Path) -> Iterator[dict[str, object]]:
    """Test scores of the studies that are there, run by run, with their mean and the last alpha."""
    for study, vague in WORLDS.items():
        for path in sorted((root / "results" / study).glob("*/results.parquet")):
            found: dict[int, dict[tuple[str, str], float]] = {}
            for row in pq.read_table(path).to_pylist():
                if row["split"] == "test" and (row["metric"], row["protocol"]) in KEPT:
                    found.setdefault(row["seed"], {})[row["benchmark"], row["metric"]] = row["value"]
            for seed, values in sorted(found.items()):
                tops = [value for (_, metric), value in values.items() if metric == "top1"]
                curve = root / "runs" / study / path.parent.name / f"seed-{seed}" / "metrics.jsonl"
                last = json.loads(curve.read_text(encoding="utf-8").splitlines()[-1])
                whole = {
                    ("mean", "top1"): sum(tops) / len(tops),
                    **values,
                    ("run", "alpha"): last["logit_scale"],
                }
                for (benchmark, metric), value in whole.items():
                    yield {
                        "ambiguity": vague, "arm": path.parent.name, "seed": seed, "benchmark": benchmark,
                        "metric": metric, "value": f"{value:.6g}",
                    }  # fmt: skip


def write(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Writes rows of equal keys as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def with_tables(page: str, tables: Mapping[str, str]) -> str:
    """The page with each table between its marks, `<!-- NAME -->` and `<!-- end -->`."""
    for name, table in tables.items():
        page, count = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- end -->)",
            lambda found, table=table: f"{found[1]}{table}\n{found[2]}",
            page,
            flags=re.DOTALL,
        )
        if count != 1:
            raise SystemExit(
                f"{PAGE} has {count} places for {name}; it needs <!-- {name} --> and <!-- end -->"
            )
    return page


if __name__ == "__main__":
    main(sys.argv[1:])
