"""Secrets on command lines: masked before anything is written.

Masking errs on the side of hiding: a masked harmless value costs the reader little, a written secret much.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MASK = "***"
MAX_ARGUMENTS = 64
MAX_ARGUMENT_CHARACTERS = 500

_SECRET_WORD = (
    r"pass(?:word|wd|phrase)?|pwd|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|secret[-_]?key"
    r"|auth|authorization|credentials?|cookie|signature|dsn"
)
_SECRET_NAME = re.compile(rf"(?:^|[-_.])(?:{_SECRET_WORD})$", re.I)
_ASSIGNMENT = re.compile(r"^(?P<name>-{0,2}[A-Za-z][\w.-]*)(?P<sign>=|:)(?P<value>.+)$", re.S)
_OPTION = re.compile(r"^-{1,2}[A-Za-z][\w.-]*$")
_USER_INFO = re.compile(r"(?P<scheme>[A-Za-z][\w+.-]*://)[^/@\s]+@")
_QUERY_SECRET = re.compile(rf"(?P<name>[?&;](?:[\w-]*[-_])?(?:{_SECRET_WORD})=)[^&;\s]+", re.I)
_BEARER = re.compile(r"\b(?P<scheme>Bearer|Basic)\s+\S+", re.I)
# Keys of common services, and anything long that is all hexadecimal or mixes cases and digits like base64.
_KNOWN_TOKEN = re.compile(r"\b(?:sk-|ghp_|gho_|github_pat_|glpat-|hf_|xox[abpr]-|AKIA|ASIA|eyJ)[\w.+/=-]{8,}")
_BLOB = re.compile(r"(?<![\w/.+-])[A-Za-z0-9+_-]{32,}={0,2}(?![\w/.])")


def masked(argv: list[str]) -> list[str]:
    """Command line with secrets replaced by `***` and its length bounded.

    What was cut says so: a long argument ends in "… (N characters)", a long list in "… (N arguments)".
    """
    shown = [_shortened(text) for text in _without_secrets(argv[:MAX_ARGUMENTS])]
    return shown if len(argv) <= MAX_ARGUMENTS else [*shown, f"… ({len(argv)} arguments)"]


def _without_secrets(argv: list[str]) -> Iterator[str]:
    secret_follows = False
    for text in argv:
        if secret_follows and not _OPTION.match(text):
            yield MASK
        else:
            yield _masked_text(text)
        secret_follows = bool(_OPTION.match(text) and _names_secret(text))


def _names_secret(name: str) -> bool:
    return bool(_SECRET_NAME.search(name))


def _masked_text(text: str) -> str:
    assignment = _ASSIGNMENT.match(text)
    if assignment and _names_secret(assignment["name"]):
        return f"{assignment['name']}{assignment['sign']}{MASK}"
    text = _USER_INFO.sub(rf"\g<scheme>{MASK}@", text)
    text = _QUERY_SECRET.sub(rf"\g<name>{MASK}", text)
    text = _BEARER.sub(rf"\g<scheme> {MASK}", text)
    text = _KNOWN_TOKEN.sub(MASK, text)
    return _BLOB.sub(_masked_blob, text)


def _masked_blob(match: re.Match[str]) -> str:
    text = match[0]
    hexadecimal = re.fullmatch(r"[0-9a-fA-F]+", text) is not None
    kinds = (str.islower, str.isupper, str.isdigit)
    mixed = all(any(kind(letter) for letter in text) for kind in kinds)
    return MASK if (hexadecimal and not text.isdigit()) or mixed else text


def _shortened(text: str) -> str:
    if len(text) <= MAX_ARGUMENT_CHARACTERS:
        return text
    return f"{text[:MAX_ARGUMENT_CHARACTERS]}… ({len(text)} characters)"
