"""Redaction: texts that are shown or logged, without what may be secret in them. The only place that removes secrets.

Messages of HTTP clients and cloud libraries quote URLs, headers and answers. A credential is recognised by its place
in a URL, by the name in front of it, by its shape, or by its value where that is known. Redaction rather removes too
much than too little.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

REDACTED = "[redacted]"
MIN_SECRET_CHARS = 8  # a shorter value would be cut out of ordinary words

# Schemes in whose URLs a repository or a container precedes the @, and no user.
PLACES = ("hf", "abfs", "abfss", "wasb", "wasbs")
# Environment variables that hold credentials of the packages that this program reads and uploads with.
VARIABLES = (
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_CLIENT_SECRET",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
)

# The query of a path without its server, as urllib3 quotes it.
_PATH_QUERY = re.compile(r"\?[\w.%-]+=[^\s'\"<>)]*")

# Values by the names in front of them: a whole header, a field of JSON, of XML or of a form.
_HEADER = re.compile(
    r"\b((?:proxy-)?authorization|(?:set-)?cookie)(\\?['\"]?\s*[:=]\s*\\?['\"]?)[^'\"\r\n<>{}]+", re.IGNORECASE
)
_FIELD = re.compile(
    r"(?<![A-Za-z])((?:access|refresh|id|session|security|sas)[-_]?token|x-amz-(?:security-token|signature|credential)"
    r"|x-goog-(?:signature|credential)|x-api-key|api[-_]?key|account[-_]?key|client[-_]?secret"
    r"|(?:aws[-_]?)?secret[-_]?(?:access[-_]?)?key|shared[-_]?access[-_]?(?:key|signature)|password|passwd)"
    r"(\\?['\"]?\s*[:=]\s*\\?['\"]?)[^\s'\"&,;<>{}]+",
    re.IGNORECASE,
)
_ASSIGNED = re.compile(r"\b(sig|signature|credential|awsaccesskeyid|token|secret)(=)[^\s'\"&,;<>{}]+", re.IGNORECASE)
_ELEMENT = re.compile(
    r"(<(AWSAccessKeyId|SignatureProvided|StringToSign\w{0,20}|CanonicalRequest\w{0,20}|\w{0,20}Token\w{0,20})>)[^<]+",
    re.IGNORECASE,
)
# Credentials by their shape: of Hugging Face, AWS, GitHub and Google, and JSON Web Tokens.
_SHAPE = re.compile(
    r"(?<![\w-])(?:(?:hf|api_org)_(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{8,}|(?:AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{20,}|ya29\.[\w-]{10,}"
    r"|AIza[\w-]{30,}|eyJ[\w-]{6,}\.[\w-]{6,}\.[\w-]*)"
)
_SCHEMED = re.compile(
    r"\b(Bearer|Basic|Token)(\s+)(?:(?=[A-Za-z]*[\d._~+/=-])[A-Za-z0-9._~+/=-]{8,}|[A-Za-z]{20,})", re.IGNORECASE
)


@dataclass(frozen=True)
class _Spelling:
    """How URLs are spelt: as they are, or percent-encoded, as in the query of another URL.

    `url` starts at the start of a word only, so that a long text is read once.
    """

    url: re.Pattern[str]
    separator: re.Pattern[str]
    at: re.Pattern[str]
    colon: re.Pattern[str]
    query: re.Pattern[str]
    end: re.Pattern[str]  # of the authority: user, password, host and port

    def stripped(self, text: str) -> str:
        """Return a text whose URLs of this spelling have no user, password, query or fragment."""
        return self.url.sub(lambda match: self._strip(match[0]), text)

    def _strip(self, url: str) -> str:
        pieces: list[str] = self.separator.split(url)
        scheme, *parts = pieces  # several parts where a URL is within another
        separators: list[str] = self.separator.findall(url)
        done = scheme
        for separator, part in zip(separators, parts, strict=True):
            kept = self._without_user(part, scheme.rpartition(":")[2].lower())
            if cut := self.query.search(kept):
                return done + separator + kept[: cut.start()]
            done += separator + kept
            scheme = part
        return done

    def _without_user(self, part: str, scheme: str) -> str:
        found = self.end.search(part)
        authority = part[: found.start()] if found else part
        ats = [match.end() for match in self.at.finditer(part)]
        if within := [at for at in ats if at <= len(authority)]:
            is_place = scheme in PLACES and not self.colon.search(authority)
            return part if is_place else part[within[-1] :]
        # A password with an unquoted slash: what follows the colon is no port.
        _, *after = self.colon.split(authority, maxsplit=1)
        is_password = bool(after) and not after[0].isdigit() and not authority.startswith("[")
        return part[ats[-1] :] if ats and is_password else part


_SPELLINGS = (
    _Spelling(
        url=re.compile(r"(?<![\w+.-])[\w+.-]+://[^\s'\"<>]*"),
        separator=re.compile("://"),
        at=re.compile("@"),
        colon=re.compile(":"),
        query=re.compile("[?#]"),
        end=re.compile("[/?#]"),
    ),
    _Spelling(
        url=re.compile(r"(?<![\w+.-])[\w+.-]+%3A%2F%2F[^\s'\"<>&]*", re.IGNORECASE),
        separator=re.compile("%3A%2F%2F", re.IGNORECASE),
        at=re.compile("@|%40"),
        colon=re.compile(":|%3A", re.IGNORECASE),
        query=re.compile("[?#]|%3F|%23", re.IGNORECASE),
        end=re.compile("[/?#]|%2F|%3F|%23", re.IGNORECASE),
    ),
)


def redact_urls(text: str) -> str:
    """Return a text whose URLs have no user, password, query or fragment, and are otherwise unchanged."""
    for spelling in _SPELLINGS:
        text = spelling.stripped(text)
    return text


def redact(text: str, secrets: Iterable[str | None] = ()) -> str:
    """Return a text without what may be secret in it.

    URLs lose what redact_urls removes, and paths without a server lose their queries. Tokens, keys, signatures and
    whole Authorization headers become "[redacted]", as do each of `secrets` and every value of VARIABLES in the
    environment, percent-encoded or not.
    """
    known = {value for value in (*secrets, *map(os.environ.get, VARIABLES)) if value}
    spelt = {spelling for value in known for spelling in (value, quote(value, safe=""), quote(value))}
    for value in sorted(spelt, key=len, reverse=True):
        if len(value) >= MIN_SECRET_CHARS:
            text = text.replace(value, REDACTED)
    text = _PATH_QUERY.sub("", redact_urls(text))
    text = _HEADER.sub(rf"\1\2{REDACTED}", text)
    text = _SCHEMED.sub(rf"\1\2{REDACTED}", text)
    text = _FIELD.sub(rf"\1\2{REDACTED}", text)
    text = _ASSIGNED.sub(rf"\1\2{REDACTED}", text)
    text = _ELEMENT.sub(rf"\1{REDACTED}", text)
    return _SHAPE.sub(REDACTED, text)
