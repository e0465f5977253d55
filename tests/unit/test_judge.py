"""The judge's numbers against scikit-learn, hand counts, closed forms and simulation."""

import cv2
import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, jaccard_score

from flywheel.errors import DataInvalid
from flywheel.judge.bootstrap import bootstrap_ious, draw_counts, interval, paired_difference, resampled_ious
from flywheel.judge.confusion import (
    MIN_AREA,
    called_defective,
    class_iou,
    confusion,
    counts,
    image_iou,
    largest_region,
    mean_iou,
    recall_and_false_positives,
)
from flywheel.judge.feedback import LEAST_WEIGHT, class_weights
from flywheel.judge.ledger import append_verdict, read_ledger
from flywheel.judge.matrix_picture import confusion_picture


def masks(seed: int, channels: int = 4, size: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, channels, (size, size), dtype=np.uint8)
    predicted = np.where(rng.random((size, size)) < 0.7, truth, rng.integers(0, channels, (size, size))).astype(
        np.uint8
    )
    truth[rng.random((size, size)) < 0.1] = 255
    return truth, predicted


def test_confusion_and_iou_equal_scikit_learns():
    truth, predicted = masks(0)
    matrix = confusion(truth, predicted, 4)
    valid = truth != 255
    assert np.array_equal(matrix, confusion_matrix(truth[valid], predicted[valid], labels=range(4)))
    expected = jaccard_score(truth[valid], predicted[valid], labels=[1, 2, 3], average=None)
    assert class_iou(counts(matrix)) == pytest.approx(expected)
    assert mean_iou(class_iou(counts(matrix))) == pytest.approx(expected.mean())


def test_iou_equals_hand_count_on_a_4x4_mask():
    truth = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 0, 0], [255, 2, 0, 0]], np.uint8)
    predicted = np.array([[0, 1, 1, 1], [0, 0, 1, 0], [2, 0, 0, 0], [2, 2, 0, 0]], np.uint8)
    # class 1: 3 hits, 4 true, 4 predicted -> 3/5; class 2: 2 hits, 3 true, 2 predicted -> 2/3
    assert class_iou(counts(confusion(truth, predicted, 4))).tolist() == pytest.approx(
        [3 / 5, 2 / 3, np.nan], nan_ok=True
    )


def test_a_class_absent_from_the_truth_is_not_averaged_and_is_not_perfect():
    truth, predicted = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    truth[0], predicted[0] = 1, 1
    predicted[3] = 2
    ious = class_iou(counts(confusion(truth, predicted, 3)))
    assert ious[0] == 1
    assert np.isnan(ious[1])
    assert mean_iou(ious) == 1
    assert np.isnan(mean_iou(np.array([np.nan, np.nan])))


def test_matrices_are_summed_before_they_are_divided():
    one, other = (confusion(*masks(seed), 4) for seed in (1, 2))
    together = class_iou(counts(one + other))
    truth, predicted = (np.concatenate(pair) for pair in zip(masks(1), masks(2), strict=True))
    assert together == pytest.approx(class_iou(counts(confusion(truth, predicted, 4))))
    assert together != pytest.approx((class_iou(counts(one)) + class_iou(counts(other))) / 2, abs=1e-9)


def test_image_iou_is_one_without_defects_and_nought_for_a_false_alarm():
    clean, alarm = np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8)
    alarm[:2] = 1
    assert image_iou(confusion(clean, clean, 3)) == 1
    assert image_iou(confusion(clean, alarm, 3)) == 0
    assert image_iou(confusion(alarm, alarm, 3)) == 1


def test_an_image_is_called_defective_from_one_region_of_twelve_pixels():
    specks, region = np.zeros((32, 32), np.uint8), np.zeros((32, 32), np.uint8)
    specks[::4, ::4] = 1  # 64 px in 64 regions
    region[5, 3 : 3 + MIN_AREA] = 2
    assert (largest_region(specks), called_defective(specks)) == (1, False)
    assert (largest_region(region), called_defective(region)) == (MIN_AREA, True)
    region[5, 3] = 0
    assert not called_defective(region)
    assert largest_region(np.eye(20, dtype=np.uint8)) == 20  # a diagonal line is connected


def test_recall_and_false_positive_rate_by_hand():
    assert recall_and_false_positives(np.array([1, 1, 1, 0, 0]), np.array([1, 0, 1, 1, 0])) == (2 / 3, 1 / 2)
    assert recall_and_false_positives(np.array([1]), np.array([0])) == (0.0, None)


def test_resampled_scores_equal_scores_of_the_repeated_images():
    matrices = np.stack([confusion(*masks(seed), 4) for seed in range(6)])
    draws = draw_counts(6, 5, np.random.default_rng(0))
    assert (draws.sum(axis=1) == 6).all()
    for draw, ious in zip(draws, resampled_ious(counts(matrices), draws), strict=True):
        repeated = np.concatenate([matrices[[image] * times] for image, times in enumerate(draw) if times])
        assert ious == pytest.approx(class_iou(counts(repeated.sum(axis=0))))


def simulated(rng: np.random.Generator, images: int, iou: float, noise: float = 0.1) -> np.ndarray:
    """(images, 3, 2) counts of one class: as many true as predicted pixels, true IoU `iou` over endless images."""
    size = rng.integers(200, 400, images)
    hits = size * (2 * iou / (1 + iou)) + size * rng.normal(0, noise, images)
    block = np.zeros((images, 3, 2))
    block[:, 0, 1], block[:, 1, 1], block[:, 2, 1] = np.clip(hits, 0, size), size, size
    return block


def test_the_interval_covers_the_true_value_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        values = bootstrap_ious(simulated(rng, 60, 0.6)[None], 300, rng)
        low, high = interval(mean_iou(values), 0.9)
        covered += low <= 0.6 <= high
    assert 0.83 <= covered / 200 <= 0.95


def test_seeds_that_disagree_widen_the_interval():
    rng = np.random.default_rng(1)
    agree = np.stack([simulated(rng, 80, 0.6)] * 3)
    differ = np.stack([simulated(rng, 80, iou) for iou in (0.5, 0.6, 0.7)])
    widths = [np.diff(interval(mean_iou(bootstrap_ious(block, 500, rng)), 0.95))[0] for block in (agree, differ)]
    assert widths[1] > 2 * widths[0]


def test_paired_difference_sees_a_small_gain_on_the_same_images_and_none_between_equals():
    rng = np.random.default_rng(2)
    champion = simulated(rng, 60, 0.6)
    better = champion.copy()
    better[:, 0, 1] = np.minimum(better[:, 0, 1] * 1.02, better[:, 1, 1])
    kwargs = {"resamples": 1000, "confidence": 0.95}
    gain = paired_difference(champion, better, generator=np.random.default_rng(0), **kwargs)
    assert gain.probability == 1
    assert gain.interval[0] > 0
    assert gain.interval[0] < gain.difference < gain.interval[1]
    same = paired_difference(champion, champion, generator=np.random.default_rng(0), **kwargs)
    assert (same.probability, same.difference, same.interval) == (0, 0, (0, 0))
    back = paired_difference(better, champion, generator=np.random.default_rng(0), **kwargs)
    assert back.difference == pytest.approx(-gain.difference)


def test_equally_good_models_are_rarely_called_better():
    rng = np.random.default_rng(3)
    called = [
        paired_difference(
            simulated(rng, 60, 0.6), simulated(rng, 60, 0.6), resamples=300, confidence=0.95, generator=rng
        ).probability
        >= 0.95
        for _ in range(200)
    ]
    assert np.mean(called) <= 0.1


def test_interval_of_nothing_is_none():
    assert interval(np.array([np.nan]), 0.95) is None
    assert interval(np.arange(101.0), 0.9) == pytest.approx((5, 95))


def test_a_turn_is_entered_once_and_the_first_entry_stands(tmp_path):
    path = tmp_path / "ledger.jsonl"
    assert read_ledger(path) == []
    assert append_verdict(path, {"turn": 1, "words": "断纱"})
    assert not append_verdict(path, {"turn": 1, "words": "again"})
    assert append_verdict(path, {"turn": 2, "words": "b"})
    before = path.read_bytes()
    assert append_verdict(path, {"turn": 3, "words": "c"})
    assert path.read_bytes().startswith(before)
    assert [entry["words"] for entry in read_ledger(path)] == ["断纱", "b", "c"]


def test_a_line_that_a_crash_left_half_written_was_never_an_entry(tmp_path):
    path = tmp_path / "ledger.jsonl"
    append_verdict(path, {"turn": 1})
    with path.open("a") as file:
        file.write('{"turn": 2, "wor')
    assert [entry["turn"] for entry in read_ledger(path)] == [1]
    assert append_verdict(path, {"turn": 2})
    assert [entry["turn"] for entry in read_ledger(path)] == [1, 2]


def test_a_damaged_ledger_is_refused_with_its_line(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_text('{"turn": 1}\nnonsense\n{"turn": 3}\n')
    with pytest.raises(DataInvalid, match=r"ledger\.jsonl:2"):
        read_ledger(path)
    with pytest.raises(DataInvalid, match="needs its turn"):
        append_verdict(tmp_path / "new.jsonl", {"words": "x"})


def test_weak_classes_weigh_more_and_unknown_ones_one():
    weights = class_weights(np.array([0.0, 0.75, np.nan, 1.0]))
    raw = np.array([1, 0.5, LEAST_WEIGHT])
    assert weights[[0, 1, 3]] == pytest.approx(raw / raw.mean())
    assert weights[2] == 1
    assert weights[[0, 1, 3]].mean() == pytest.approx(1)
    assert class_weights(np.full(3, np.nan)).tolist() == [1, 1, 1]


def test_confusion_picture_is_a_png_and_depends_on_the_matrix_alone() -> None:
    names = ["background", "hole", "stain"]
    matrix = np.array([[90, 5, 5], [2, 8, 0], [0, 0, 0]])
    first = confusion_picture(matrix, names, "test")
    assert first == confusion_picture(matrix * 10, names, "test")
    assert first != confusion_picture(np.diag([90, 10, 1]), names, "test")
    assert cv2.imdecode(np.frombuffer(first, np.uint8), cv2.IMREAD_COLOR).shape[2] == 3


@pytest.mark.filterwarnings("error")
def test_confusion_picture_writes_chinese_names() -> None:
    matrix = np.array([[90, 5, 5], [2, 8, 0], [0, 4, 4]])
    pictures = {confusion_picture(matrix, ["background", "断纱", name], "test") for name in ("污渍", "色差")}
    assert len(pictures) == 2
