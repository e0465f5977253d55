"""Every error that the product raises on purpose.

    FlywheelError
    ├── ConfigError            params.yaml, a flag or a combination of them is not usable
    ├── WorkspaceError         the workspace is missing, damaged, busy or in the wrong state
    │   └── WorkspaceBusy      another turn holds the workspace
    ├── IngestError            a source as a whole cannot be read
    │   └── UnreadableImage    one file cannot become a sample; it is set aside with this text
    ├── DataInvalid            stored data break a rule
    │   ├── MaskInvalid        a mask's shape or class index does not fit
    │   ├── ManifestInvalid    a manifest row breaks the schema
    │   └── LeakageFound       a test sample reached training
    ├── LabellingError         the labelling page cannot do what was asked
    │   ├── NotAllowed         the role may not do it, or the image is somebody else's
    │   │   └── NotSignedIn    nobody is signed in
    │   ├── LabelConflict      somebody else holds or has labelled the image, or a newer version of it exists
    │   └── TooBusy            the click model is at work; a preview is left out
    ├── ModelError             a model directory is missing, damaged or of another kind
    │   └── WeightsUnavailable pretrained weights are not here and may not be fetched
    ├── StageFailed            a DVC stage ended with an error
    └── Unavailable            a service did not answer; the only branch that is retried
        ├── StorageUnavailable object storage or the DVC remote
        ├── TrackingUnavailable the MLflow server
        └── LabelStudioUnavailable a Label Studio server

A message gives the value, the rule, the place and the cure.
"""


class FlywheelError(Exception):
    """Root of the tree; the command line prints it as one line and exits with `exit_code`."""

    exit_code = 1


class ConfigError(FlywheelError):
    """Raised when a parameter, a flag or a combination of them is not usable."""

    exit_code = 2


class WorkspaceError(FlywheelError):
    """Raised when the workspace is missing, damaged or in the wrong state."""


class WorkspaceBusy(WorkspaceError):
    """Raised when another process holds the workspace."""


class IngestError(FlywheelError):
    """Raised when a source as a whole cannot be read."""


class UnreadableImage(IngestError):
    """Raised when one file cannot become a sample; ingestion sets it aside with this text and goes on."""


class DataInvalid(FlywheelError):
    """Raised when stored data break a rule."""


class MaskInvalid(DataInvalid):
    """Raised when a mask's shape or class index does not fit its image or the class table."""


class ManifestInvalid(DataInvalid):
    """Raised when a manifest row breaks the schema."""


class LeakageFound(DataInvalid):
    """Raised when a sample of the frozen test split, or its twin, reached training."""


class LabellingError(FlywheelError):
    """Raised when the labelling page cannot do what was asked."""


class NotAllowed(LabellingError):
    """Raised when the role may not do what was asked, or when the image is somebody else's."""


class NotSignedIn(NotAllowed):
    """Raised when nobody is signed in."""


class LabelConflict(LabellingError):
    """Raised when somebody else holds or has labelled the image, or when a newer version of it exists."""


class TooBusy(LabellingError):
    """Raised when the click model is at work and the answer was only wanted at once."""


class ModelError(FlywheelError):
    """Raised when a model directory is missing, damaged or of another kind."""


class WeightsUnavailable(ModelError):
    """Raised when pretrained weights are asked for, are not on this machine and cannot be fetched."""


class StageFailed(FlywheelError):
    """Raised when a DVC stage ended with an error."""


class Unavailable(FlywheelError):
    """Raised when a service did not answer; callers may try again."""


class StorageUnavailable(Unavailable):
    """Raised when object storage or the DVC remote did not answer."""


class TrackingUnavailable(Unavailable):
    """Raised when the MLflow server did not answer."""


class LabelStudioUnavailable(Unavailable):
    """Raised when a Label Studio server did not answer."""
