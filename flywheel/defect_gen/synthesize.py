"""The stage `synthesize`: draw the shards that are still missing, put all pairs together and say how it went."""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed

import numpy as np
import torch

from flywheel.data.sample import Sample
from flywheel.data.shards import write_shards
from flywheel.defect_gen.synthesis_shards import Plan, draw_shard, forget_painter, make_plan
from flywheel.device import pick_device
from flywheel.files import TEMPORARY_SUFFIX, write_json
from flywheel.params import Curate, Synthesize
from flywheel.paths import Paths
from flywheel.progress import progress

REPORT = "synthesis.json"


def synthesize(paths: Paths, params: Synthesize, curate: Curate, *, seed: int) -> dict:
    """Draw the synthetic pairs of this turn into paths.synthetic: all of them, or the folder is not there.

    Shards that other processes or an interrupted run have drawn already are taken as they are.
    curate: what the judge of a single pair goes by; a rejected pair is drawn again, up to params.attempts times.
    Raises ModelError when a generator or the inspector is missing, and ConfigError when a model did not learn its side
    of switch_step.
    """
    plan = make_plan(paths, params, curate, seed=seed)
    draw_missing(paths, plan)
    report = _write(paths, plan)
    for folder in paths.synthesis.glob("*"):  # the shards of earlier inputs
        if folder != plan.folder:
            shutil.rmtree(folder, ignore_errors=True)
    return report


def draw_missing(paths: Paths, plan: Plan) -> None:
    """Draw what is missing of a plan in this process: on a CPU as many shards at once as torch has threads."""
    missing = plan.missing()
    if not missing:
        return
    before = torch.get_num_threads()
    at_once = before if pick_device().type == "cpu" else 1
    pool = ThreadPoolExecutor(min(at_once, len(missing)))
    try:
        runs = [pool.submit(draw_shard, paths, plan, shard) for shard in missing]
        for run in progress(as_completed(runs), "synthesize", total=plan.shards, initial=plan.shards - len(missing)):
            run.result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)
        forget_painter()


class _Tally:
    """Counts the pairs that pass through it, for the report."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.wanted: Counter[str] = Counter()
        self.redrawn: Counter[str] = Counter()
        self.given_up: Counter[str] = Counter()
        self.repainted: list[float] = []

    def counted(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """The samples, without those whose picture came before."""
        for sample in samples:
            *earlier, last = sample.scores["attempts"]
            self.redrawn.update(earlier)
            self.given_up.update([last] if last else [])
            if sample.id not in self.ids:
                self.ids.add(sample.id)
                self.wanted.update(sample.scores["wanted"])
                self.repainted.append(sample.scores.get("repainted", 0.0))
                yield sample

    def report(self, plan: Plan) -> dict:
        """redrawn, given_up: rejected attempts by reason, followed by another one or kept as the slot's last.

        left_to_real: classes that were not drawn since they are changes of shading.
        """
        found: dict = {
            "made": len(self.ids),
            "wanted": dict(sorted(self.wanted.items())),
            "repainted_share": round(float(np.mean(self.repainted)), 4) if self.repainted else 0.0,
            "redrawn": dict(sorted(self.redrawn.items())),
            "given_up": dict(sorted(self.given_up.items())),
            "left_to_real": list(plan.left),
        }
        return found | ({"reason": plan.reason} if plan.reason else {})


def _write(paths: Paths, plan: Plan) -> dict:
    """Fill a folder beside paths.synthetic, then rename it. Returns the report."""
    temporary = paths.synthetic.with_name(paths.synthetic.name + TEMPORARY_SUFFIX)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    tally = _Tally()
    write_shards(temporary, "synthetic", tally.counted(plan.samples()))
    report = tally.report(plan)
    write_json(temporary / REPORT, report)
    shutil.rmtree(paths.synthetic, ignore_errors=True)
    temporary.rename(paths.synthetic)
    return report
