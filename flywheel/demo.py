"""The demo: three deliveries of simulated cloth, from lots that drift, for a wheel that turns three times.

The first delivery brings few labels from the first lot and the test set, which holds cloth of every lot, as a mill
would put aside. All three bring images without labels. The simulator knows their truth, and a simulated user clicks
towards it on the labelling page's desk, so the demo tells what a label costs from turn to turn.
"""

import shutil
from pathlib import Path

from flywheel.data.fabric import draw_sample, write_folder
from flywheel.data.sample import Sample
from flywheel.files import read_json, write_json
from flywheel.workspace import MARKER, init_workspace

SIZE = (128, 128)  # px
LOTS = (1006, 1010, 1014)  # far enough apart that cloth and light have changed; no shipped model learnt from them
FIRST_LABELS = 45  # labelled training images of the first lot
TEST_PER_LOT = 48
DELIVERY = 150  # unlabelled images of each later lot
FIRST_DELIVERY = 60  # unlabelled images of the first lot
FIRST_UNLABELLED = 1_000  # their index, which keeps them apart from the labelled ones of that lot
DEFECT_RATE = 0.5
TRUTH = "truth"


def _draw(seed: int, lot: int, start: int, count: int) -> list[Sample]:
    return [
        draw_sample(seed, index, lot=lot, size=SIZE, defect_rate=DEFECT_RATE) for index in range(start, start + count)
    ]


def draw_deliveries(out: Path, seed: int) -> list[list[Path]]:
    """Draw the deliveries below `out` unless they are there; returns the folders of each, in order.

    Each folder has the index-mask layout; `out/truth` holds the masks of the images that come without.
    """
    labelled = out / "delivery-1-labelled"
    pools = [out / f"delivery-{number}" for number in range(1, len(LOTS) + 1)]
    folders = [[labelled, pools[0]], *([pool] for pool in pools[1:])]
    complete = out / "complete.json"
    if complete.exists() and read_json(complete)["seed"] == seed:
        return folders
    shutil.rmtree(out, ignore_errors=True)
    training = _draw(seed, LOTS[0], 0, FIRST_LABELS)
    # an index range of its own keeps the test rolls apart from every training roll
    test = [sample for lot in LOTS for sample in _draw(seed, lot, 10_000, TEST_PER_LOT)]
    splits = {sample.id: "train" for sample in training} | {sample.id: "test" for sample in test}
    write_folder(labelled, training + test, splits=splits)
    truth = []
    counts = [FIRST_DELIVERY, *[DELIVERY] * (len(LOTS) - 1)]
    starts = [FIRST_UNLABELLED, *[0] * (len(LOTS) - 1)]
    for folder, lot, start, count in zip(pools, LOTS, starts, counts, strict=True):
        samples = _draw(seed, lot, start, count)
        write_folder(folder, samples, with_masks=False)
        truth += samples
    write_folder(out / TRUTH, truth)
    write_json(complete, {"seed": seed})
    return folders


def make_workspace(out: Path) -> Path:
    """The demo's workspace in `out`, new or as an earlier demo left it; a simulated user answers its label queue."""
    root = out / "workspace"
    if not (root / MARKER).exists():
        shutil.rmtree(root, ignore_errors=True)
        workspace = init_workspace(root, preset="demo", name="demo-cloth")
        truth = str((out / "cloth" / TRUTH).resolve())
        workspace.change_params({"label": {"annotator": "clicks", "oracle": truth}})
        workspace.commit("Let a simulated user answer the label queue")
    return root
