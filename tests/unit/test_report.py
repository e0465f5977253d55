"""The report: what it says is checked against figures set by hand, what it shows against pixels decoded again."""

import base64
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from flywheel.data.classes import ClassTable, class_colour
from flywheel.data.manifest import joined, write_manifest
from flywheel.data.sample import Sample, encode_png
from flywheel.data.shards import write_shard
from flywheel.files import write_json, write_text
from flywheel.paths import Paths
from flywheel.report.charts import arm_key, class_chart
from flywheel.report.collect import collect
from flywheel.report.cost_chart import cost_chart
from flywheel.report.history import Score, Turn
from flywheel.report.pictures import SIDE, frame, thumbnails
from flywheel.report.render import class_counts, write_report
from flywheel.report.words import arm_label, headline, next_turn, synthetic_sentence

CLASSES = ("hole", "stain", "broken_yarn")
SPLITS = ("train", "train", "train", "val", "test", "test")


def draw(rng: np.random.Generator, defects: tuple[int, ...], origin: str = "real") -> Sample:
    """A plain weave of 96 x 96 px with one ellipse (classes 1, 2) or one vertical line (class 3) for each defect."""
    rows, columns = np.mgrid[:96, :96]
    weave = 150 + 18 * np.sin(rows * 1.3) * np.cos(columns * 1.3) + rng.normal(0, 5, (96, 96))
    image = np.repeat(weave[..., None], 3, axis=2) * np.array([0.92, 0.96, 1.0])
    mask = np.zeros((96, 96), np.uint8)
    for defect in defects:
        shape = np.zeros((96, 96), np.uint8)
        row, column = (int(place) for place in rng.integers(24, 72, 2))
        if defect == 3:
            shape[row - 20 : row + 20, column : column + 3] = 1
        else:
            axes = (int(rng.integers(5, 12)), int(rng.integers(4, 9)))
            cv2.ellipse(shape, (column, row), axes, float(rng.integers(180)), 0, 360, 1, -1)
        mask[shape > 0] = defect
        image[shape > 0] = image[shape > 0] * (0.35, 0.72, 1.25)[defect - 1]
    caption = f"{'A synthetic' if origin == 'synthetic' else 'A real'} view of {len(defects)} defects."
    return Sample(image.clip(0, 255).astype(np.uint8), mask, caption, origin=origin, annotator="import")  # type: ignore[arg-type]


def rows_of(samples: list[Sample], shard: Path, splits: list[str], reasons: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "id": sample.id,
                "shard": shard.name,
                "split": split,
                "origin": sample.origin,
                "product": "cloth",
                "group": sample.id,
                "classes": joined(sample.class_indices),
                "areas": joined(list(sample.areas().values())),
                "height": 96,
                "width": 96,
                "caption": sample.caption,
                "annotator": sample.annotator,
                "clicks": 0,
                "parents": "",
                "generator": "",
                "seed": 0,
                "scores": "{}",
                "reason": reason,
                "source": "drawn",
            }
            for sample, split, reason in zip(samples, splits, reasons, strict=True)
        ]
    )


def score(miou: float, spread: float = 0.04) -> dict:
    def entry(value: float) -> dict:
        return {"iou": value, "iou_ci": [value - 1.5 * spread, value + 1.5 * spread]}

    return {
        "miou": miou,
        "miou_ci": [miou - spread, miou + spread],
        "recall": 0.75 + miou / 4,
        "fpr": 0.3 - miou / 4,
        "val_miou": miou,
        "per_class": {"hole": entry(miou + 0.12), "stain": entry(miou), "broken_yarn": entry(miou - 0.12)},
        "seeds": {str(seed): {"miou": miou + (seed - 1) * 0.02} for seed in range(3)},
    }


def ledger_line(turn: int, arms: dict, promote: bool, before: dict | None, after: dict, words: str = "") -> dict:
    challenger = score(max(arm["miou"] for arm in arms.values()))
    return {
        "turn": turn,
        "generation": f"gen-{turn:04d}",
        "time": f"2024-05-{turn:02d}T09:30:00+00:00",
        "dataset_digest": "0123456789abcdef" * 4,
        "arms": arms,
        "challenger": {"arm": "copy_paste", "seed": 1},
        "verdict": {
            "promote": promote,
            "probability": 0.991 if promote else 0.43,
            "difference": 0.07 if promote else -0.01,
            "interval": [0.02, 0.12] if promote else [-0.05, 0.03],
            "champion_metrics": before,
            "challenger_metrics": challenger,
            "words": words,
        },
        "champion": {"model": f"cloth-segmenter/{turn}", **after},
        "samples": {"real": 40, "labelled": 12 * turn, "synthetic": 12, "rejected_synthetic": 3, "unlabelled": 4},
        "queue": {"asked": 12, "answered": 12, "clicks": 31},
        "label_cost": {
            "labels": 12, "clicks": 12 * (6 - turn), "seconds": 240.0, "clicks_per_label": 6.0 - turn,
            "seconds_per_label": 30.0 - 5 * turn, "clicks_per_region": 8.0 - turn,
            "seconds_per_region": 20.0 - 3 * turn, "by": ["li", "wang"],
        },
        "click": {
            "new": {"noc85": 5.5 - turn}, "previous": {"noc85": 6.0 - turn}, "promote": True,
            "model": f"cloth-clicker/{turn}", "words": f"The click model is the new champion: {5.5 - turn:.2f} clicks.",
        },
    }  # fmt: skip


def full_workspace(root: Path) -> Paths:
    """A workspace after three turns, with every part that the report knows."""
    paths, rng = Paths(root), np.random.default_rng(7)
    ClassTable(CLASSES).save(paths.classes)
    wanted = [(1,), (2,), (3,), (1, 2), (2, 3), ()] * 6
    real = [draw(rng, defects) for defects in wanted]
    shard = write_shard(paths.shards, "real", real)
    splits = [SPLITS[(number // 6) % 6] for number in range(36)]
    table = rows_of(real, shard, splits, [""] * 36)
    write_manifest(paths.generation, table)
    bare = [Sample(draw(rng, ()).image) for _ in range(4)]
    write_shard(paths.shards, "pool", bare)
    synthetic = [draw(rng, defects, "synthetic") for defects in [(1,), (2,), (3,)] * 5]
    drawn = write_shard(paths.synthetic, "synthetic", synthetic)
    reasons = [""] * 12 + ["class missing: hole 0 px", "near copy: distance 2", "near copy: distance 3"]
    asked = [json.dumps({"wanted": [name]}) for name in CLASSES * 5]
    write_manifest(paths.curated, rows_of(synthetic, drawn, ["train"] * 15, reasons).assign(scores=asked))
    few = {"broken_yarn": "shown by 2 images, fewer than 3"}
    write_json(paths.metrics / "train_inspector.json", {"trained": True, "not_judged": few})
    test = [number for number, split in enumerate(splits) if split == "test" and wanted[number]]
    predictions = []
    for place, number in enumerate(test):
        truth, prediction = real[number].mask, np.roll(real[number].mask, 1 + place, axis=1)
        shared = ((truth == prediction) & (truth > 0)).sum() / ((truth > 0) | (prediction > 0)).sum()
        entry = {"id": real[number].id, "shard": shard.name, "iou": shared, "mask": encode_png(prediction)}
        predictions.append(entry)
    paths.evaluation.mkdir(parents=True)
    pd.DataFrame(predictions).to_parquet(paths.evaluation / "predictions.parquet", index=False)
    last = {"real_only": score(0.58), "copy_paste": score(0.68), "defect_gen": score(0.63)}
    history = [
        ledger_line(1, {"real_only": score(0.52), "copy_paste": score(0.55)}, True, None, score(0.55)),
        ledger_line(2, {"real_only": score(0.50), "copy_paste": score(0.54)}, False, score(0.55), score(0.55)),
        ledger_line(3, last, True, score(0.61), score(0.68)),
    ]
    write_text(paths.ledger, "".join(json.dumps(line) + "\n" for line in history))
    write_json(
        paths.metrics / "evaluate.json",
        {"test_images": 12, "arms": last, "challenger": {"arm": "copy_paste", "seed": 1}},
    )
    steer = {
        "class_weights": {"hole": 0.8, "stain": 0.97, "broken_yarn": 1.4},
        "note": "Weights follow the IoU on val.",
    }
    hard = [{"id": real[3].id, "iou": 0.11}, {"id": real[4].id, "iou": 0.19}]
    write_json(paths.metrics / "feedback.json", steer | {"hard_samples": hard})
    entries = [
        {"id": sample.id, "shard": "pool", "why": why, "score": 0.5}
        for sample, why in zip(bare, ("uncertain", "uncertain", "novel", "random"), strict=True)
    ]
    write_json(paths.queue, {"turn": 4, "entries": entries, "done": False})
    write_text(paths.quarantine, json.dumps({"file": "roll-7/<b>.png", "reason": "cut short at byte 120"}) + "\n")
    return paths


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Paths, str]:
    paths = full_workspace(tmp_path_factory.mktemp("mill"))
    return paths, write_report(paths).read_text(encoding="utf-8")


class Outline(HTMLParser):
    """Open elements must close in order; keeps the ids, the text and every address that a browser would fetch."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        if found.get("id"):
            self.ids.append(str(found["id"]))
        self.addresses += [str(found[name]) for name in ("src", "href") if found.get(name)]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """`<line ... />` of SVG opens nothing."""

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)


PARTS = ["champion", "history", "classes", "pairs", "worst", "data", "labels", "next", "words"]


def test_the_page_has_every_part_in_order_and_asks_nothing_of_the_network(full: tuple[Paths, str]) -> None:
    outline = Outline(full[1])
    assert outline.ids == PARTS
    assert {address.split(":")[0] for address in outline.addresses if not address.startswith("#")} == {"data"}
    assert "url(" not in full[1]
    assert "@import" not in full[1]
    assert "<script" not in full[1]


def test_the_headline_carries_the_verdict_and_its_figures(full: tuple[Paths, str]) -> None:
    text = Outline(full[1]).text
    assert (
        "Generation 3: the challenger (copy-paste, seed 1) replaces the champion: mIoU 0.610 → 0.680, "
        "better in 99.1 % of resamples."
    ) in text
    assert (
        "Synthetic data did not help: mIoU 0.630 [0.590, 0.670] against 0.680 [0.640, 0.720] for copy-paste, "
        "which is free."
    ) in text


def test_equal_workspaces_give_equal_bytes(full: tuple[Paths, str]) -> None:
    assert write_report(full[0]).read_text(encoding="utf-8") == full[1]


def test_names_from_outside_cannot_write_markup(full: tuple[Paths, str]) -> None:
    assert "roll-7/<b>.png" not in full[1]
    assert "roll-7/&lt;b&gt;.png" in full[1]


def test_counts_by_class_and_split_equal_a_count_by_hand(full: tuple[Paths, str]) -> None:
    # six rounds of (1) (2) (3) (1,2) (2,3) (); rounds 0-2 train, 3 val, 4-5 test; 12 accepted synthetic, 4 a class
    assert class_counts(collect(full[0])) == {
        "hole": {"train": 6, "val": 2, "test": 4, "synthetic": 4},
        "stain": {"train": 9, "val": 3, "test": 6, "synthetic": 4},
        "broken_yarn": {"train": 6, "val": 2, "test": 4, "synthetic": 4},
        "defect-free": {"train": 3, "val": 1, "test": 2},
    }


def test_pairs_wanted_accepted_and_short_equal_a_count_by_hand(full: tuple[Paths, str]) -> None:
    """Five pairs a class were wanted; of the last three, one a class, none was accepted."""
    text = Outline(full[1]).text
    assert "Wanted Accepted Short hole 5 4 1 stain 5 4 1 broken_yarn 5 4 1" in text
    assert "2 near copy, 1 class missing" in text
    assert "whether a mask fits its picture for broken_yarn (shown by 2 images, fewer than 3)." in text


def test_marks_of_the_class_chart_stand_where_their_values_belong(full: tuple[Paths, str]) -> None:
    chart = re.search(r'<svg class="chart"[^>]*aria-label="IoU by class.*?</svg>', full[1], re.DOTALL)
    assert chart is not None
    ticks = {
        float(value): float(x)
        for x, value in re.findall(
            r'<text class="tick" x="([\d.]+)"[^>]*text-anchor="middle">([\d.]+)</text>', chart[0]
        )
    }
    circles = re.findall(r'<circle class="mark arm0" cx="([\d.]+)"[^>]*><title>[^<]*: ([\d.]+) ', chart[0])
    assert [float(value) for _, value in circles] == [0.58, 0.70, 0.58, 0.46]
    for x, value in circles:
        assert (float(x) - ticks[0.0]) / (ticks[1.0] - ticks[0.0]) == pytest.approx(float(value), abs=1e-3)


def test_the_label_cost_stands_by_turn_with_the_click_model_that_it_trained(full: tuple[Paths, str]) -> None:
    text = Outline(full[1]).text
    assert "gen-0003 12 3.00 15.0 5.00 11.0 li, wang 2.50 before 3.00 cloth-clicker/3 new" in text
    assert "gen-0001 12 5.00 25.0 7.00 17.0 li, wang 4.50 before 5.00 cloth-clicker/1 new" in text
    assert "The click model is the new champion: 2.50 clicks." in text


def test_bars_of_the_label_cost_are_as_high_as_their_values(full: tuple[Paths, str]) -> None:
    chart = re.search(r'<svg class="chart"[^>]*aria-label="Clicks and seconds.*?</svg>', full[1], re.DOTALL)
    assert chart is not None
    bars = re.findall(r'height="([\d.]+)"><title>gen-000(\d): ([\d.]+) (\w+ a \w+)', chart[0])
    assert [(number, value, what) for _, number, value, what in bars] == [
        ("1", "5.00", "clicks a label"), ("2", "4.00", "clicks a label"), ("3", "3.00", "clicks a label"),
        ("1", "25.0", "seconds a label"), ("2", "20.0", "seconds a label"), ("3", "15.0", "seconds a label"),
        ("1", "7.00", "clicks a region"), ("2", "6.00", "clicks a region"), ("3", "5.00", "clicks a region"),
        ("1", "17.0", "seconds a region"), ("2", "14.0", "seconds a region"), ("3", "11.0", "seconds a region"),
    ]  # fmt: skip
    for part in (bars[:3], bars[3:6], bars[6:9], bars[9:]):
        heights = [float(height) / float(value) for height, _, value, _ in part]
        assert heights == pytest.approx([heights[0]] * 3, rel=0.01)


def test_names_of_many_turns_do_not_run_into_each_other() -> None:
    turns = [Turn.of(ledger_line(turn, {"real_only": score(0.5)}, True, None, score(0.5))) for turn in range(1, 11)]
    chart = str(cost_chart(turns))
    assert chart.count("<rect") == 40
    for part in range(4):
        names = [float(x) for x in re.findall(r'<text class="label" x="([\d.]+)"', chart)]
        own = names[part * len(names) // 4 : (part + 1) * len(names) // 4]
        assert len(own) >= 2
        assert min(np.diff(own)) >= 65
    assert "gen-0010" in chart


def test_turns_of_an_older_ledger_have_no_label_cost(tmp_path: Path) -> None:
    line = ledger_line(1, {"real_only": score(0.5)}, True, None, score(0.5))
    del line["label_cost"], line["click"]
    write_text(tmp_path / "ledger.jsonl", json.dumps(line) + "\n")
    text = Outline(write_report(Paths(tmp_path)).read_text(encoding="utf-8")).text
    assert "No label was drawn at the labelling desk yet." in text
    assert cost_chart([Turn.of(line)]) == ""


def test_a_fresh_workspace_yields_a_page_that_says_what_to_do(tmp_path: Path) -> None:
    text = Outline(write_report(Paths(tmp_path)).read_text(encoding="utf-8"))
    assert text.ids == PARTS
    assert "No images yet. Bring some in with flywheel ingest FOLDER , then run flywheel turn ." in text.text
    assert text.text.count("None") == 0


@pytest.mark.parametrize(
    "part",
    [
        "ledger.jsonl",
        "data/classes.json",
        "data/queue.json",
        "metrics/evaluate.json",
        "metrics/feedback.json",
        "metrics/train_inspector.json",
        "data/quarantine.jsonl",
        "data/generation/manifest.parquet",
        "data/curated/manifest.parquet",
        "data/evaluation/predictions.parquet",
    ],
)
def test_a_missing_or_damaged_part_never_stops_the_report(full: tuple[Paths, str], tmp_path: Path, part: str) -> None:
    paths = Paths(shutil.copytree(full[0].root, tmp_path / "copy"))
    (paths.root / part).write_bytes(b"{ damaged\nbeyond repair")
    damaged = Outline(write_report(paths).read_text(encoding="utf-8"))
    assert "Parts that could not be read" in damaged.text
    (paths.root / part).unlink()
    missing = Outline(write_report(paths).read_text(encoding="utf-8"))
    assert missing.ids == PARTS
    assert "Parts that could not be read" not in missing.text


def test_pictures_whose_shards_are_gone_are_left_out(full: tuple[Paths, str], tmp_path: Path) -> None:
    paths = Paths(shutil.copytree(full[0].root, tmp_path / "copy"))
    for file in [*paths.shards.glob("*.parquet"), *paths.synthetic.glob("*.parquet")]:
        file.unlink()
    outline = Outline(write_report(paths).read_text(encoding="utf-8"))
    assert not [address for address in outline.addresses if address.startswith("data:image")]


def test_a_thumbnail_shows_the_class_colour_on_the_defect_and_leaves_the_rest_as_it_was() -> None:
    image, mask = np.full((64, 64, 3), 128, np.uint8), np.zeros((64, 64), np.uint8)
    mask[16:48, 16:48] = 1
    plain, marked = (
        cv2.imdecode(np.frombuffer(base64.b64decode(uri.split(",")[1]), np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(
            int
        )
        for uri in thumbnails(image, [mask], ClassTable(("hole",)))
    )
    assert plain.shape == (SIDE, SIDE, 3)
    centre, corner = (SIDE // 2, SIDE // 2), (8, 8)
    assert np.abs(marked[corner] - plain[corner]).max() < 6
    toward = np.array(class_colour(1)) - 128
    assert ((marked[centre] - 128) * toward).sum() > 0.3 * (toward**2).sum()


@pytest.mark.parametrize("place", [(0, 0), (995, 3000), (500, 1500)])
def test_the_frame_holds_a_small_defect_of_a_large_image_and_stays_inside(place: tuple[int, int]) -> None:
    marked = np.zeros((1000, 3010), bool)
    marked[place[0] : place[0] + 5, place[1] : place[1] + 9] = True
    rows, columns = frame(marked)
    assert marked[rows, columns].sum() == 45
    assert marked[rows, columns].shape == (SIDE, SIDE)


def turn_with(**changes: object) -> Turn:
    line = ledger_line(3, {"copy_paste": score(0.68)}, True, score(0.61), score(0.68))
    line["verdict"] |= changes
    return Turn.of(line)


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({}, "promoted", "replaces the champion: mIoU 0.610 → 0.680, better in 99.1 % of resamples"),
        ({"probability": 0.9996}, "promoted", "better in 99.9 % of resamples"),
        ({"probability": 1.0}, "promoted", "better in 100 % of resamples"),
        ({"champion_metrics": None}, "promoted", "is the first champion, mIoU 0.680"),
        ({"promote": False, "probability": 0.43}, "kept", "the champion stays. The challenger (copy-paste, seed 1)"),
        ({"promote": None}, "idle", "nothing was judged"),
    ],
)
def test_the_headline_says_what_the_gate_decided(tmp_path: Path, changes: dict, status: str, words: str) -> None:
    facts = collect(Paths(tmp_path))
    facts.turns.append(turn_with(**changes))
    assert headline(facts).status == status
    assert words in headline(facts).title


@pytest.mark.parametrize(
    ("drawn", "spread", "words"),
    [(0.60, 0.04, "did not help"), (0.70, 0.04, "proves nothing"), (0.80, 0.04, "Synthetic data helped")],
)
def test_synthetic_data_helped_only_when_the_intervals_part(drawn: float, spread: float, words: str) -> None:
    arms = {
        "real_only": Score.of(score(0.5)),
        "copy_paste": Score.of(score(0.66)),
        "defect_gen": Score.of(score(drawn)),
    }
    assert words in synthetic_sentence({arm: found for arm, found in arms.items() if found})


def test_an_arm_keeps_its_mark_whichever_arms_stand_beside_it() -> None:
    shown = {arm: Score.of(score(0.5)) for arm in ("real_only", "copy_paste", "perlin", "defect_gen")}
    four = {arm: found for arm, found in shown.items() if found}
    two = {arm: four[arm] for arm in ("real_only", "defect_gen")}
    for arms in (four, two):
        chart = str(class_chart(arms, ["hole"]))
        assert chart.count("mark arm2") == 2  # mIoU and the class, in the accent colour
        assert all(f">mIoU, {label}: 0.500" in chart for label in map(arm_label, arms))
    assert len({str(arm_key(arm)) for arm in four}) == 4


def test_the_next_turn_names_the_queue_and_the_classes_that_get_more(full: tuple[Paths, str]) -> None:
    text = " ".join(next_turn(collect(full[0])))
    assert "4 images of turn 4 wait for a label (2 uncertain, 1 novel, 1 random)" in text
    assert "more of broken_yarn (× 1.40) and less of hole (× 0.80)" in text


def test_classes_left_to_real_images_are_not_promised_from_synthesis(full: tuple[Paths, str]) -> None:
    facts = replace(collect(full[0]), left=frozenset({"broken_yarn"}))
    text = " ".join(next_turn(facts))
    assert "draw more of" not in text
    assert "Changes of shading are left to real images: broken_yarn." in text
