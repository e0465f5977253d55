"""Who may use the labelling page: tokens from a file or the environment, never from params.yaml."""

import hashlib
import hmac
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from flywheel.errors import ConfigError

VARIABLE = "FLYWHEEL_LABEL_TOKENS"
ANNOTATOR, REVIEWER = "annotator", "reviewer"
ROLES = (ANNOTATOR, REVIEWER)
SHORTEST = 16  # characters of a token
LONGEST_NAME = 40


@dataclass(frozen=True)
class Token:
    """digest: SHA-256 of the secret, which itself is not kept."""

    role: str
    name: str
    digest: str


def digest_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def read_tokens(file: Path | None) -> list[Token]:
    """The tokens of `file` and of FLYWHEEL_LABEL_TOKENS.

    One `ROLE:NAME:TOKEN` a line or between commas; `#` begins a comment. Raises ConfigError for a line of another
    form, a token that is short or given twice, and a file that others on the machine can read.
    """
    texts = [(VARIABLE, os.environ.get(VARIABLE, ""))]
    if file is not None:
        texts.append((str(file), _private(file)))
    tokens: list[Token] = []
    for where, text in texts:
        lines = [line.partition("#")[0].strip() for line in text.replace(",", "\n").splitlines()]
        for number, line in enumerate(lines, start=1):
            if line:
                tokens.append(_token(line, f"{where}, entry {number}"))
    twice = {token.digest for token in tokens if sum(other.digest == token.digest for other in tokens) > 1}
    if twice:
        raise ConfigError("two people have the same token; each needs one of their own")
    return tokens


def find_token(tokens: list[Token], secret: str) -> Token | None:
    """The token of `secret`; takes equally long whether it is known or not."""
    digest = digest_of(secret)
    found = None
    for token in tokens:
        if hmac.compare_digest(token.digest, digest):
            found = token
    return found


def check_name(name: str) -> str:
    """A person's name without spaces around it. Raises ConfigError when it is empty, long or not printable."""
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise ConfigError(f"name {name[:LONGEST_NAME]!r}: 1 to {LONGEST_NAME} printable characters are needed")
    return name


def _token(line: str, where: str) -> Token:
    role, _, rest = line.partition(":")
    name, _, secret = rest.rpartition(":")
    if role not in ROLES or not name:
        raise ConfigError(f"{where}: expected ROLE:NAME:TOKEN with a role of {', '.join(ROLES)}")  # never the secret
    if len(secret) < SHORTEST:
        raise ConfigError(f"{where}: the token of {name} has {len(secret)} characters, at least {SHORTEST} are needed")
    return Token(role, check_name(name), digest_of(secret))


def _private(file: Path) -> str:
    try:
        mode = file.stat().st_mode
        text = file.read_text(encoding="utf-8")
    except OSError as err:
        raise ConfigError(f"{file}: cannot be read ({err.strerror}); give a file of ROLE:NAME:TOKEN lines") from err
    except UnicodeDecodeError as err:
        raise ConfigError(f"{file}: is not UTF-8 (byte {err.start}); save it as UTF-8 text") from err
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"{file}: others on this machine may read it; run chmod 600 {file}")
    return text
