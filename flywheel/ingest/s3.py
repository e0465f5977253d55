"""A source in object storage. Endpoint and credentials come from the usual AWS_* environment variables."""

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)

from flywheel.errors import IngestError, StorageUnavailable, UnreadableImage
from flywheel.ingest.source import S3_SCHEME, check_size

# Three tries with growing pauses, then StorageUnavailable: the flow's own retries are slower and longer.
_CONFIG = Config(
    connect_timeout=5,
    read_timeout=60,
    retries={"total_max_attempts": 3, "mode": "standard"},
    s3={"addressing_style": "path"},
)
_REFUSED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "403", "401", "ExpiredToken", "InvalidToken"}
_ABSENT = {"NoSuchKey", "NoSuchBucket", "404"}


class S3Source:
    """Objects below `s3://bucket/prefix`; names are the keys without the prefix."""

    def __init__(self, address: str) -> None:
        bucket, _, prefix = address.removeprefix(S3_SCHEME).partition("/")
        if not bucket:
            raise IngestError(f"{address}: no bucket; write s3://bucket/prefix")
        self.location = address.rstrip("/")
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        # An own session: the default one keeps the credentials that the process started with.
        try:
            self._client = boto3.session.Session().client("s3", config=_CONFIG)
        except (ValueError, BotoCoreError) as err:
            raise IngestError(f"{address}: {err}; check AWS_ENDPOINT_URL (http://host:port) and AWS_PROFILE") from err
        self._sizes: dict[str, int] | None = None

    def names(self) -> list[str]:
        return sorted(self._list())

    def problems(self) -> list[tuple[str, str]]:
        return []

    def _list(self) -> dict[str, int]:
        if self._sizes is None:
            sizes: dict[str, int] = {}
            try:
                pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
                for page in pages:
                    for entry in page.get("Contents", []):
                        name = entry["Key"].removeprefix(self._prefix)
                        if name and not name.endswith("/"):  # "folders" made by browsers are empty objects
                            sizes[name] = entry["Size"]
            except (BotoCoreError, ClientError) as err:
                raise self._translated("list", self._prefix, err) from err
            self._sizes = sizes
        return self._sizes

    def read(self, name: str, limit: int) -> bytes:
        sizes = self._list()
        if name not in sizes:
            raise UnreadableImage(f"{name}: not in {self.location}")
        check_size(name, sizes[name], limit)
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
            check_size(name, answer["ContentLength"], limit)
            return answer["Body"].read()
        except ClientError as err:
            if _code(err) in _REFUSED | _ABSENT:  # the listing went well, so it is this object alone
                raise UnreadableImage(f"{name}: can't be read ({_code(err)}); check the object's permissions") from err
            raise self._translated("get", self._prefix + name, err) from err
        except BotoCoreError as err:
            raise self._translated("get", self._prefix + name, err) from err

    def _translated(self, what: str, key: str, err: BotoCoreError | ClientError) -> IngestError | StorageUnavailable:
        place = f"{what} s3://{self._bucket}/{key}"
        if isinstance(err, ParamValidationError):
            return IngestError(f"{place}: {self._bucket!r} is no bucket name; write s3://bucket/prefix")
        if isinstance(err, NoCredentialsError | PartialCredentialsError):
            return IngestError(f"{place}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        if isinstance(err, ClientError) and _code(err) in _REFUSED:
            return IngestError(f"{place}: refused ({_code(err)}); check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        if isinstance(err, ClientError) and _code(err) in _ABSENT:
            return IngestError(f"{place}: no such bucket ({_code(err)}); check the address and AWS_ENDPOINT_URL")
        return StorageUnavailable(f"{place}: {err}; check AWS_ENDPOINT_URL and that the storage answers")


def _code(err: ClientError) -> str:
    return str(err.response.get("Error", {}).get("Code", ""))
