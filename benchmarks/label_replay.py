"""What each turn's queue costs with each click model: how labelling gets cheaper when the images stay the same.

    python benchmarks/label_replay.py -w demo/workspace

The queues differ from turn to turn, so what their labels cost cannot be compared as it stands. Here the simulated user
clicks the queue of every turn once more, storing nothing, with the shipped click model and with each version that the
workspace registered before that turn: the same images, regions and hand, only another model. For
workspaces with `label.annotator: clicks`, as the demo's.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow.artifacts
import numpy as np

from flywheel.annotate.oracle import DatasetOracle
from flywheel.annotate.simulated import modelled_seconds, turn_of
from flywheel.click_champion import click_registry
from flywheel.data.classes import IGNORE, ClassTable
from flywheel.data.generation import labelled_rows
from flywheel.data.sample import Sample
from flywheel.data.shards import read_samples
from flywheel.defect_click.clicker import Clicker
from flywheel.defect_click.protocol import click_until, regions
from flywheel.defect_click.simulated_user import JITTERED
from flywheel.labelling.images import UID
from flywheel.params import SimulatedUser
from flywheel.progress import progress
from flywheel.workspace import Workspace


@dataclass
class Cost:
    """Of a queue. labels: images; wrong: regions whose first proposed class is not theirs, or that got no proposal."""

    labels: int = 0
    regions: int = 0
    clicks: int = 0
    wrong: int = 0

    def seconds(self, user: SimulatedUser) -> float:
        return modelled_seconds(user, looks=self.labels, clicks=self.clicks, classes=self.wrong)


def queues(ws: Workspace, classes: ClassTable) -> dict[int, list[Sample]]:
    """Images that the simulated user labelled, by turn, with their true masks. Raises SystemExit without any."""
    params = ws.params()
    drawn = read_samples(ws.paths.shards, labelled_rows(ws.paths))
    turns = {one.id: turn for one in drawn if (turn := turn_of(str(one.scores.get(UID, "")))) is not None}
    if not turns:
        raise SystemExit(f"{ws.paths.root}: no label of the simulated user; run a turn with label.annotator: clicks")
    oracle = DatasetOracle(params.label.oracle, params.ingest.max_pixels)
    answered = oracle.label([one for one in drawn if one.id in turns], classes)
    return {turn: [one for one in answered if turns[one.id] == turn] for turn in sorted(set(turns.values()))}


def label_again(
    clicker: Clicker, images: Sequence[Sample], classes: ClassTable, user: SimulatedUser, *, seed: int, what: str
) -> Cost:
    """Click all regions of the images; an image's hand depends on `seed` and its id alone."""
    cost = Cost(labels=len(images))
    for one in progress(images, what, total=len(images)):
        assert one.mask is not None
        rng, state = np.random.default_rng([seed, int(one.id, 16)]), clicker.set_image(one.image)
        for index, region in regions(one.mask, 1):
            found = click_until(
                clicker, state, region, JITTERED, wanted=user.good_iou, most=user.most_clicks, rng=rng,
                ignore=one.mask == IGNORE,
            )  # fmt: skip
            ranked = clicker.propose_class(state, found.mask)
            cost.regions += 1
            cost.clicks += found.clicks
            cost.wrong += not ranked or ranked[0][0] != classes.name(index)
    return cost


def models(ws: Workspace, folder: Path) -> dict[int, Path | None]:
    """The shipped model (0) and what the workspace registered, by the number of its generation, fetched to `folder`."""
    registry = click_registry(ws)
    found: dict[int, Path | None] = {0: None}
    for version in registry.client.search_model_versions(f"name = '{registry.name}'"):
        fetched = mlflow.artifacts.download_artifacts(
            artifact_uri=version.source, dst_path=str(folder / str(version.version)), tracking_uri=registry.uri
        )
        found[int(version.tags["generation"].rsplit("-", 1)[1])] = Path(fetched)
    return dict(sorted(found.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-w", "--workspace", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of the user's hand")
    arguments = parser.parse_args()
    ws = Workspace.open(arguments.workspace)
    classes, user = ClassTable.load(ws.paths.classes), ws.params().simulated_user
    asked = queues(ws, classes)
    print(
        "| queue of turn | click model | labels | regions | clicks a region | wrong class % | s a region | s a label |"
    )
    print("|---|---|---|---|---|---|---|---|")
    with TemporaryDirectory() as folder:
        for generation, place in models(ws, Path(folder)).items():
            clicker, name = Clicker.load(place), f"of generation {generation}" if generation else "shipped"
            for turn, images in asked.items():
                if generation >= turn:
                    continue  # it has learnt from these labels
                cost = label_again(clicker, images, classes, user, seed=arguments.seed, what=f"turn {turn}, {name}")
                seconds = cost.seconds(user)
                print(
                    f"| {turn} | {name} | {cost.labels} | {cost.regions} | {cost.clicks / cost.regions:.2f} "
                    f"| {100 * cost.wrong / cost.regions:.0f} | {seconds / cost.regions:.1f} "
                    f"| {seconds / cost.labels:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
