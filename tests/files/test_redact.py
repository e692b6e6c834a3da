"""Redaction: no secret is left in a text, and what is no secret stays."""

from __future__ import annotations

import json
import time
from urllib.parse import quote

import pytest

from transcoder.files.redact import REDACTED, redact, redact_urls

HF = "hf_" + "AbCdEfGh0123456789IjKlMnOpQrStUvWx"
AWS_ID = "AKIA" + "IOSFODNN7EXAMPLE"
AWS_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SIGNATURE = "0123456789abcdef" * 4
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVPmB92K27uhbUJU1p1r"

# A text, and the secrets in it.
TEXTS = {
    "a password": ("https://anna:pa55word@host/dir/file", ["anna", "pa55word"]),
    "a user alone": ("https://s3cr3tuser@host/dir", ["s3cr3tuser"]),
    "a password with an @": ("https://anna:p@ss@host/dir", ["anna", "p@ss", "ss@"]),
    "a password with a slash": ("cannot open https://anna:pa/55word@host/dir now", ["anna", "55word"]),
    "a password with a question mark": ("https://anna:pa?55word@host/dir", ["anna", "55word"]),
    "a quoted password": ("https://anna:p%40ss%2Fword@host/dir", ["anna", "p%40ss", "word@"]),
    "a password of another scheme": ("sftp://anna:pa55word@host:22/dir and ssh://bob:tr0ub4@host", ["pa55", "tr0ub4"]),
    "a password in a chain": ("zip://w.npz::https://anna:pa55word@host/x.zip", ["anna", "pa55word"]),
    "two URLs": ("https://a:pw1@x/ then https://b:pw2@y/?token=pw3", ["pw1", "pw2", "pw3"]),
    "S3, signed": (
        f"https://b.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={AWS_ID}%2F20260101"
        f"&X-Amz-Security-Token=IQoJb3JpZ2lu&X-Amz-Signature={SIGNATURE}",
        [AWS_ID, SIGNATURE, "IQoJb3JpZ2lu"],
    ),
    "S3, signed, version 2": (
        f"https://b.s3.amazonaws.com/k?AWSAccessKeyId={AWS_ID}&Expires=1&Signature=vjbyPxybdZaNmGa%2ByT272YEAiv4%3D",
        [AWS_ID, "vjbyPxyb"],
    ),
    "Google, signed": (
        f"https://storage.googleapis.com/b/k?X-Goog-Credential=me%40p.iam&X-Goog-Signature={SIGNATURE}",
        [SIGNATURE, "me%40p"],
    ),
    "Azure, signed": (
        "https://acct.blob.core.windows.net/c/k?sv=2024-01-01&se=2026&sp=r&sig=Zm9vYmFyYmF6cXV4%3D",
        ["Zm9vYmFy"],
    ),
    "a URL in a URL": (
        "https://host/go?to=" + quote(f"https://anna:pa55word@x/k?sig={SIGNATURE}", safe=""), ["pa55word", SIGNATURE]
    ),
    "an encoded URL in a text": (
        "redirected to " + quote(f"https://anna:pa55word@x/k?sig={SIGNATURE}", safe=""), ["anna", "pa55word", SIGNATURE]
    ),
    "urllib3": (
        f"HTTPSConnectionPool(host='x', port=443): Max retries exceeded with url: /k?X-Amz-Signature={SIGNATURE} "
        "(Caused by NewConnectionError)",
        [SIGNATURE],
    ),
    "aiohttp": (f"400, message='Bad', url=URL('https://x/k?X-Amz-Signature={SIGNATURE}')", [SIGNATURE]),
    "a fragment": ("https://host/callback#access_token=s3cr3tfragment", ["s3cr3tfragment"]),
    "a bearer": (f"Authorization: Bearer {SIGNATURE}", [SIGNATURE]),
    "a bearer alone": ("sent Bearer abcDEF.123-456_x=", ["abcDEF"]),
    "basic": ("{'Authorization': 'Basic YW5uYTpzM2NyM3QtcHc='}", ["YW5uYTpz"]),
    "a signed header": (
        f"Authorization: AWS4-HMAC-SHA256 Credential={AWS_ID}/20260101, SignedHeaders=host, Signature={SIGNATURE}",
        [AWS_ID, SIGNATURE],
    ),
    "a cookie": ("Set-Cookie: session=s3cr3tcookie; Path=/", ["s3cr3tcookie"]),
    "Hugging Face": (f"token {HF} is not valid", [HF]),
    "an old one of Hugging Face": ("api_org_" + "AbCdEfGh0123456789", ["AbCdEfGh0123456789"]),
    "Google": ("ya29.a0AfH6SMBx-s3cr3t and AIza" + "SyA1234567890abcdefghijklmnopqrstuv", ["a0AfH6", "SyA12345"]),
    "GitHub": ("ghp_" + "abcdefghijklmnopqrst0123456789", ["abcdefghijklmnop"]),
    "JSON Web Token": (f"assertion {JWT}", [JWT, "dBjftJeZ4"]),
    "JSON": (json.dumps({"access_token": "s3cr3tvalue", "refresh_token": "0ther", "client_secret": "th1rd"}),
             ["s3cr3tvalue", "0ther", "th1rd"]),
    "JSON in JSON": (json.dumps(json.dumps({"access_token": "s3cr3tvalue"})), ["s3cr3tvalue"]),
    "AWS' settings": (f"aws_secret_access_key = {AWS_KEY}\naws_session_token=IQoJb3JpZ2lu", [AWS_KEY, "IQoJb3"]),
    "S3's answer": (
        f"<AWSAccessKeyId>{AWS_ID}</AWSAccessKeyId><SignatureProvided>Zm9vYmFy</SignatureProvided>",
        [AWS_ID, "Zm9vYmFy"],
    ),
    "Azure's connection": ("DefaultEndpointsProtocol=https;AccountName=me;AccountKey=Zm9vYmFyYmF6==;", ["Zm9vYmFy"]),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_no_secret_is_left(name: str) -> None:
    text, secrets = TEXTS[name]
    assert all(secret in text for secret in secrets)
    found = redact(text)
    assert not [secret for secret in secrets if secret in found], found
    assert redact(found) == found


@pytest.mark.parametrize(
    "text",
    [
        "https://host:8080/dir/file@v1/tf_model.h5",
        "hf://org/model@v1/tf_model.h5",
        "hf://gpt2@main/tf_model.h5",
        "abfss://container@account.dfs.core.windows.net/dir",
        "s3://bucket/token/secret-model/tf_model.h5",
        "memory://models/roberta",
        "FileNotFoundError: [Errno 2] No such file or directory: '/home/a@b/tf_model.h5'",
        "Invalid credentials in Authorization header",
        "HTTP 401 Unauthorized, WWW-Authenticate: Bearer realm",
        "pip install hf_transfer",
        "vocabulary of 50265 tokens, pad token <pad>",
        "",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_a_known_secret_goes_in_every_spelling() -> None:
    phrase = "my+own/secret value"
    for text in (f"x {phrase} y", f"/path/{quote(phrase)}", f"to={quote(phrase, safe='')}"):
        found = redact(text, [phrase, None, ""])
        assert REDACTED in found
        assert "secret" not in found


def test_short_values_are_not_cut_out_of_words() -> None:
    assert redact("a model of the Hub", ["the", ""]) == "a model of the Hub"


def test_secrets_of_the_environment_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_KEY"):
        monkeypatch.setenv(name, f"plain-words-of-{name}")
        assert redact(f"it says plain-words-of-{name}.") == f"it says {REDACTED}."


def test_a_url_of_a_file_keeps_all_but_user_and_query() -> None:
    url = "https://anna:pa55word@host:8080/hf_Model2023abc/AKIAIOSFODNN7EXAMPLE/x.h5?sig=1#top"
    assert redact_urls(url) == "https://host:8080/hf_Model2023abc/AKIAIOSFODNN7EXAMPLE/x.h5"


LONG = {
    "separators": "://" * 20_000,
    "schemes": "a://" * 20_000,
    "words": "a" * 200_000 + "@",
    "dashes": "a-" * 100_000 + "://x@",
    "colons": "https://" + "a:" * 50_000,
    "ats": "https://" + "a@" * 50_000,
    "encoded": "a%3A%2F%2F" * 20_000,
    "encoded users": "https%3A%2F%2F" + "a%40" * 20_000,
    "queries": "?a=" * 50_000,
    "a bearer": "Bearer " + "a" * 200_000,
    "bearers": "Bearer " * 30_000,
    "web tokens": "eyJ-" * 50_000,
    "elements": "<" + "Token" * 20_000,
    "fields": "password " * 20_000,
    "headers": "cookie:" * 20_000,
}


@pytest.mark.parametrize("kind", LONG)
def test_a_long_text_takes_no_long_time(kind: str) -> None:
    begun = time.process_time()
    redact(LONG[kind])
    assert time.process_time() - begun < 5
