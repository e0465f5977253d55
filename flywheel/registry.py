"""The champion in MLflow's model registry: a version for every challenger, one alias for the model in service.

DVC removes a stage's outputs before the stage runs, so the model in service lives here and in a verified local copy.
A version is a folder of safetensors and config.json, never a pickle.
"""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.errors import ModelError
from flywheel.files import tree_sha256
from flywheel.mlflow_store import check_owner, connect, is_server, owner_tags, store_access

if TYPE_CHECKING:
    from mlflow.entities.model_registry import RegisteredModel

ALIAS = "champion"
DIGEST_TAG = "flywheel.digest"
FOLDER_DIGITS = 16


@dataclass(frozen=True)
class Champion:
    """The model in service. digest: SHA-256 of its folder (`tree_sha256`); tags: as given to `register`."""

    name: str
    version: int
    digest: str
    run_id: str
    source: str
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, float]:
        """Those tags that are numbers, such as miou, recall and fpr."""
        return {key: number for key, value in self.tags.items() if (number := _number(value)) is not None}


class Registry:
    """Versions of the model `name`; `register` and `promote` may be repeated after a crash.

    workspace: its id; a model that belongs to another raises WorkspaceError. None: take the model whosever it is.
    """

    def __init__(self, uri: str, name: str, workspace: str | None = None) -> None:
        self.uri = uri
        self.name = name
        self.workspace = workspace
        self.client = connect(uri)

    def register(self, run_id: str, model_folder: Path, tags: Mapping[str, str]) -> int:
        """Version of the model in `model_folder`; the folder is copied to the run's artifacts unless it is known.

        tags: for instance generation, arm, seed, miou, recall, fpr. Raises ModelError when the folder is empty.
        """
        files = [path for path in model_folder.rglob("*") if path.is_file()]
        if not files:
            raise ModelError(f"{model_folder}: no model files to register; train the segmenter first")
        digest = tree_sha256(model_folder)
        with store_access(self.uri):
            if self._model() is None:
                self.client.create_registered_model(self.name, tags=owner_tags(self.workspace))
            known = self.client.search_model_versions(f"name = '{self.name}' and tags.`{DIGEST_TAG}` = '{digest}'")
            if known:
                return int(known[0].version)
            place = f"model-{digest[:FOLDER_DIGITS]}"
            self.client.log_artifacts(run_id, str(model_folder), artifact_path=place)
            source = f"{self.client.get_run(run_id).info.artifact_uri}/{place}"
            created = self.client.create_model_version(
                self.name, source, run_id, tags={**{key: str(value) for key, value in tags.items()}, DIGEST_TAG: digest}
            )
        return int(created.version)

    def tag(self, version: int, tags: Mapping[str, str]) -> None:
        """Add tags that are known only after `register`, such as the gate's figures."""
        with store_access(self.uri):
            for key, value in tags.items():
                self.client.set_model_version_tag(self.name, str(version), key, str(value))

    def promote(self, version: int) -> None:
        """Move the alias `champion` to `version`. Raises WorkspaceError when there is no such version."""
        with store_access(self.uri):
            self.client.set_registered_model_alias(self.name, ALIAS, str(version))

    def champion(self) -> Champion | None:
        """The version that carries the alias, or None before the first promotion."""
        with store_access(self.uri):
            model = self._model()
            if model is None or ALIAS not in model.aliases:
                return None
            version = self.client.get_model_version(self.name, str(model.aliases[ALIAS]))
        return Champion(
            name=self.name,
            version=int(version.version),
            digest=version.tags.get(DIGEST_TAG, ""),
            run_id=version.run_id or "",
            source=version.source or "",
            tags={key: value for key, value in version.tags.items() if key != DIGEST_TAG},
        )

    def fetch_champion(self, folder: Path) -> Path | None:
        """Local copy of the champion, `folder`/<digest>, checked by its digest; None without a champion.

        A copy that is there and whole is used again without asking for its bytes. Raises ModelError when the bytes that
        came are not those that were registered.
        """
        champion = self.champion()
        if champion is None:
            return None
        place = folder / champion.digest[:FOLDER_DIGITS]
        if place.exists() and tree_sha256(place) == champion.digest:
            return place
        import mlflow.artifacts

        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary, store_access(self.uri):
            fetched = Path(
                mlflow.artifacts.download_artifacts(
                    artifact_uri=champion.source, dst_path=temporary, tracking_uri=self.uri
                )
            )
            found = tree_sha256(fetched)
            if found != champion.digest:
                raise ModelError(
                    f"{champion.source}: digest {found[:FOLDER_DIGITS]}, registered as "
                    f"{champion.digest[:FOLDER_DIGITS]}; the artifact was changed: restore it, or promote another"
                )
            shutil.rmtree(place, ignore_errors=True)
            fetched.replace(place)
        return place

    def version_url(self, version: int) -> str:
        """Address of the version's page on the server; empty without one."""
        return f"{self.uri.rstrip('/')}/#/models/{self.name}/versions/{version}" if is_server(self.uri) else ""

    def _model(self) -> "RegisteredModel | None":
        known = self.client.search_registered_models(f"name = '{self.name}'")
        if not known:
            return None
        check_owner(self.uri, f"model {self.name}", known[0].tags, self.workspace)
        return known[0]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
