"""Which images are asked for, who answers, and that a crash in between doubles nothing."""

import numpy as np
import pytest

from flywheel.annotate.novelty import image_features, k_centre
from flywheel.annotate.oracle import DatasetOracle
from flywheel.annotate.prioritize import prioritize
from flywheel.annotate.queue import answer_queue, read_queue, write_queue
from flywheel.annotate.uncertainty import entropy_map, region_means, uncertainty
from flywheel.data.classes import ClassTable
from flywheel.data.sample import Sample, encode_png
from flywheel.data.shards import read_index, read_samples, write_shard
from flywheel.errors import ConfigError, MaskInvalid, WorkspaceError
from flywheel.files import write_bytes, write_json, write_text
from flywheel.params import Prioritize
from flywheel.paths import Paths
from flywheel.segmenter.model import SegmenterConfig, save_segmenter

CLASSES = ClassTable(("stain", "hole"))
PARAMS = Prioritize(budget=8, random_share=0.25, novelty_share=0.25, region=16)


def sample(seed: int, group: str, labelled: bool = False) -> Sample:
    rng = np.random.default_rng(seed)
    image = np.clip(rng.normal(110 + seed % 7, 6, (64, 64, 3)), 0, 255).astype(np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    image[20:30, 8:24], mask[20:30, 8:24] = 220, 1
    who = "import" if labelled else ""
    return Sample(image=image, mask=mask if labelled else None, annotator=who, product="cloth", group=group)


@pytest.fixture
def paths(tmp_path):
    """Rolls of all four splits, four unlabelled images of each, two labelled in train."""
    paths = Paths(tmp_path)
    pool = [
        sample(10 * number + i, roll) for number, roll in enumerate(("r1", "r2", "r3", "r4", "r5")) for i in range(4)
    ]
    write_shard(paths.shards, "pool", pool)
    write_shard(paths.shards, "real", [sample(10, "r2", labelled=True), sample(91, "r1", labelled=True)])
    splits = {"r1": "train", "r2": "train", "r3": "val", "r4": "test", "r5": "reserve"}
    lines = [f"cloth,{group},{split},hash" for group, split in splits.items()]
    write_text(paths.splits, "product,group,split,how\n" + "\n".join(lines) + "\n")
    CLASSES.save(paths.classes)
    return paths


@pytest.fixture
def champion(tmp_path):
    config = SegmenterConfig("Linknet", "resnet18", 3, (8,), CLASSES.names, "real_only", 0, "")
    save_segmenter(tmp_path / "champion", config.build(seed=0), config)
    return tmp_path / "champion"


class Known:
    """Annotator that marks bright pixels; `left_out` are ids that it cannot answer."""

    def __init__(self, left_out: tuple[str, ...] = ()) -> None:
        self.left_out, self.asked = left_out, 0

    def class_names(self) -> list[str]:
        return ["Stain", "knot"]

    def label(self, samples: list[Sample], classes: ClassTable) -> list[Sample]:
        from dataclasses import replace

        self.asked += len(samples)
        index = classes.index("stain")
        return [
            replace(one, mask=(one.image[..., 0] > 200).astype(np.uint8) * index, annotator="zhang", clicks=3)
            for one in samples
            if one.id not in self.left_out
        ]


def test_only_unlabelled_images_of_train_and_val_are_asked_for(paths, champion):
    index = read_index(paths.shards).drop_duplicates("id").set_index("id")
    labelled = set(read_index(paths.shards).query("labelled")["id"])
    everything = PARAMS.model_copy(update={"budget": 100})
    for model in (None, champion):
        queue = prioritize(paths, everything, champion=model, seed=0, turn=1)
        ids = [entry["id"] for entry in queue["entries"]]
        assert len(ids) == len(set(ids)) == queue["unlabelled"] == 11  # r1, r2, r3 with four each, one is labelled
        assert not labelled & set(ids)
        assert set(index.loc[ids, "group"]) == {"r1", "r2", "r3"}
        assert (
            read_index(paths.shards).query("not labelled").set_index("id").loc[ids, "shard"]
            == [entry["shard"] for entry in queue["entries"]]
        ).all()


def test_the_budget_is_shared_as_the_parameters_say(paths, champion):
    def reasons(model) -> dict[str, int]:
        entries = prioritize(paths, PARAMS, champion=model, seed=0, turn=1)["entries"]
        return {why: sum(entry["why"] == why for entry in entries) for why in ("uncertainty", "novelty", "random")}

    assert reasons(champion) == {"uncertainty": 4, "novelty": 2, "random": 2}
    assert reasons(None) == {"uncertainty": 0, "novelty": 6, "random": 2}


def test_the_same_turn_asks_the_same_and_another_turn_draws_anew(paths, champion):
    first, again, later = (prioritize(paths, PARAMS, champion=champion, seed=3, turn=turn) for turn in (1, 1, 2))
    assert first == again
    chance = [[entry["id"] for entry in queue["entries"] if entry["why"] == "random"] for queue in (first, later)]
    assert chance[0] != chance[1]


def test_nothing_to_ask_is_an_empty_queue(tmp_path):
    queue = prioritize(Paths(tmp_path), PARAMS, champion=None, seed=0, turn=1)
    assert queue == {"turn": 1, "entries": [], "done": False, "unlabelled": 0}


def test_a_pool_without_any_label_is_asked_for_too(tmp_path):
    paths = Paths(tmp_path)
    write_shard(paths.shards, "pool", [sample(seed, "r1") for seed in range(10)])
    write_text(paths.splits, "product,group,split,how\ncloth,r1,train,hash\n")
    assert len(prioritize(paths, PARAMS, champion=None, seed=0, turn=1)["entries"]) == 8


def test_k_centre_takes_the_farthest_from_everything_chosen():
    candidates = np.array([[0.0], [1.0], [5.0], [9.0], [10.0]])
    assert k_centre(candidates, np.array([[0.0]]), 3) == [(4, 10.0), (2, 5.0), (1, 1.0)]
    assert [row for row, _ in k_centre(candidates, np.zeros((0, 1)), 2)] == [0, 4]  # from the mean, 5
    assert len(k_centre(np.zeros((3, 1)), np.zeros((1, 1)), 9)) == 3


def test_an_image_with_a_spot_is_novel_among_plain_ones():
    plain = [
        np.clip(np.random.default_rng(seed).normal(120, 5, (64, 64, 3)), 0, 255).astype(np.uint8) for seed in range(9)
    ]
    plain[4][30:36, 30:36] = 250
    features = np.stack([image_features(image) for image in plain])
    others = np.delete(features, 4, axis=0)
    scale = others.std(axis=0) + 1e-6
    assert k_centre(features / scale, others[:1] / scale, 1)[0][0] == 4


def test_entropy_is_one_for_even_and_nought_for_certain_pixels():
    even, certain = np.full((4, 2, 2), 0.25), np.zeros((4, 2, 2))
    certain[1] = 1
    assert entropy_map(even) == pytest.approx(1)
    assert entropy_map(certain) == pytest.approx(0, abs=1e-9)


def test_region_means_equal_hand_means_also_at_the_border():
    values = np.random.default_rng(0).random((50, 33))
    cells = region_means(values, 16)
    assert cells.shape == (4, 3)
    assert cells[0, 0] == pytest.approx(values[:16, :16].mean())
    assert cells[3, 2] == pytest.approx(values[48:, 32:].mean())


def test_a_small_unclear_region_outranks_an_image_that_is_a_little_unclear_everywhere():
    spot, haze = np.zeros((3, 128, 128)), np.zeros((3, 128, 128))
    spot[0] = 1
    spot[:, 32:48, 32:48] = 1 / 3
    haze[0], haze[1], haze[2] = 0.96, 0.02, 0.02
    even = np.ones(2)
    assert entropy_map(haze).mean() > entropy_map(spot).mean()
    assert uncertainty(spot, 16, even) > uncertainty(haze, 16, even)


def test_a_class_that_needs_labels_makes_its_unclear_regions_count_more():
    unclear = np.zeros((3, 32, 32))
    unclear[0], unclear[1] = 0.5, 0.5
    heavy, light = (uncertainty(unclear, 16, np.array(weights)) for weights in ([2.0, 1.0], [1.0, 2.0]))
    assert heavy == pytest.approx(2 * light, rel=1e-6)


def test_an_answered_queue_becomes_a_labelled_shard_without_made_up_captions(paths):
    queue = prioritize(paths, PARAMS, champion=None, seed=0, turn=1)
    write_queue(paths, queue)
    left_out = queue["entries"][0]["id"]
    report = answer_queue(paths, Known((left_out,)))
    assert (report["asked"], report["answered"], report["clicks"], report["waiting"]) == (8, 7, 21, 1)
    assert ClassTable.load(paths.classes).names == ("stain", "hole", "knot")
    index = read_index(paths.shards)
    new = read_samples(paths.shards, index[index["annotator"] == "zhang"])
    assert {one.id for one in new} == {entry["id"] for entry in queue["entries"]} - {left_out}
    for one in new:
        assert (one.mask == 1).sum() == 160
        assert one.caption == ""
        assert one.product == "cloth"
    assert read_queue(paths)["done"]


def test_answering_again_after_a_crash_doubles_nothing(paths):
    queue = prioritize(paths, PARAMS, champion=None, seed=0, turn=1)
    write_queue(paths, queue)
    answer_queue(paths, Known())
    before = sorted(path.name for path in paths.shards.iterdir())
    write_queue(paths, queue)  # as if the crash came after the shard and before "done"
    annotator = Known()
    report = answer_queue(paths, annotator)
    assert (report["asked"], report["answered"], annotator.asked) == (8, 8, 0)
    assert sorted(path.name for path in paths.shards.iterdir()) == before
    assert answer_queue(paths, annotator)["asked"] == 0


def test_an_answer_of_the_wrong_shape_is_refused_and_nothing_is_written(paths):
    class Cropped(Known):
        def label(self, samples, classes):
            from dataclasses import replace

            return [replace(one, mask=np.zeros((8, 8), np.uint8), annotator="x") for one in samples]

    write_queue(paths, prioritize(paths, PARAMS, champion=None, seed=0, turn=1))
    before = sorted(path.name for path in paths.shards.iterdir())
    with pytest.raises(MaskInvalid, match="answer to sample"):
        answer_queue(paths, Cropped())
    assert sorted(path.name for path in paths.shards.iterdir()) == before
    assert not read_queue(paths)["done"]


def test_a_missing_or_damaged_queue_is_told(paths):
    assert read_queue(paths) is None
    with pytest.raises(WorkspaceError, match="run prioritize first"):
        answer_queue(paths, Known())
    for text in ("{", "[]", '{"turn": 1}'):
        write_text(paths.queue, text)
        with pytest.raises(WorkspaceError, match=r"queue\.json"):
            read_queue(paths)
    with pytest.raises(WorkspaceError, match="done"):
        write_queue(paths, {"turn": 1, "entries": []})


def test_the_oracle_answers_by_pixels_in_the_workspaces_indices(tmp_path):
    known = [sample(seed, "r1", labelled=True) for seed in (1, 2)]
    rows = []
    for number, one in enumerate(known):
        write_bytes(tmp_path / "truth" / "images" / f"n{number}.png", encode_png(one.image))
        write_bytes(tmp_path / "truth" / "masks" / f"n{number}.png", encode_png(one.mask))
        rows.append(f"n{number},images/n{number}.png,stain,r1,")
    write_text(tmp_path / "truth" / "index.csv", "id,file,classes,group,split\n" + "\n".join(rows) + "\n")
    write_json(tmp_path / "truth" / "classes.json", {"0": "background", "1": "stain"})
    oracle = DatasetOracle(str(tmp_path / "truth"), 10**6)
    assert oracle.class_names() == ["stain"]
    asked = [sample(2, "r9"), sample(3, "r9")]
    (answer,) = oracle.label(asked, ClassTable(("hole", "Stain")))
    assert answer.id == known[1].id
    assert np.array_equal(answer.mask, known[1].mask * 2)
    assert (answer.annotator, answer.group) == ("oracle", "r9")
    with pytest.raises(ConfigError, match="needs the folder"):
        DatasetOracle("", 10**6)
