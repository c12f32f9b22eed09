"""What is hidden: every secret in every place of a URI, of a command and of a message."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
import time
from urllib.parse import quote, quote_plus

import pytest
from paths import ROOT
from sqlalchemy.engine import URL, make_url

from trainable.storage.redaction import (
    is_unclear,
    printable,
    read_uri,
    redact,
    redact_command,
    redact_uri,
)

# What people do have as passwords, as they are: not quoted for a URI.
SECRETS = (
    "hunter-two",
    "s3c/r3t",
    "at@sign",
    "a:b:c4",
    "what?is",
    "ha#sh1",
    "per%cent",
    "%41%42%43",
    "pâßwörd",
    "to=be&not",
    "x://y@z",
    "12/34@56",
    "!@#$%^*()",
    "two words",
)
NAMES = (
    "password",
    "PASSWD",
    "pwd",
    "pass",
    "secret",
    "token",
    "key",
    "access_key",
    "api-key",
    "sas_token",
    "sig",
    "signature",
    "AccountKey",
    "AWS_SECRET_ACCESS_KEY",
    "aws.secret.access.key",
    "sslpassword",
    "X-Amz-Security-Token",
    "auth[password]",
    "p%61ssword",
    "%61ccess_key",
)
SCHEMES = ("postgresql+psycopg2", "mysql", "mssql+pyodbc", "https", "s3", "sqlite")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("secret", SECRETS)
def test_a_password_is_hidden_however_it_is_written(secret: str, scheme: str) -> None:
    for written in (secret, quote(secret, safe=""), quote_plus(secret)):
        for user in ("me", "", "me%40corp"):
            uri = f"{scheme}://{user}:{written}@host.example:5432/name?x=1"
            for shown in (redact_uri(uri), redact(f"it says {uri!r}: no", uri)):
                assert written not in shown
                assert shown.endswith(("***@host.example:5432/name?x=1", "/name?x=1': no"))


@pytest.mark.parametrize("secret", SECRETS)
def test_in_a_text_it_is_hidden_without_knowing_the_uri(secret: str) -> None:
    assert secret not in redact(f"no postgresql://me:{secret}@host/name and http://other:1/x")


@pytest.mark.parametrize("secret", SECRETS)
def test_databases_are_split_where_sqlalchemy_splits_them(secret: str) -> None:
    url = URL.create("postgresql", "me", secret, "host", 5432, "name", {"a": "b", "passwd": secret})
    written = url.render_as_string(hide_password=False)
    shown = make_url(redact_uri(written))
    assert (shown.host, shown.port, shown.database) == (url.host, url.port, url.database)
    assert (shown.username, shown.password) == ("***", None)
    assert shown.query == {"a": "b", "passwd": "***"}
    assert not is_unclear(written)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_hidden_by_their_name(name: str) -> None:
    for written in ("hunter-two", "ha#sh1", "at@sign", "a;b", "a=b", "a%26b", "what?is"):
        uri = f"https://host/p?a=b&{name}={written}&c=d"
        assert redact_uri(uri) == f"https://host/p?a=b&{name}=***&c=d"
        assert redact(f"no {uri} here") == f"no https://host/p?a=b&{name}=***&c=d here"
        assert written not in redact_uri(f"sqlite:////x.db?{name}={written}")
        assert written not in redact_uri(f"https://host/p#{name}={written}")


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:///mlflow.db",
        "sqlite:////home/me@corp/mlflow.db",
        "file:///home/me@corp:x/runs",
        "http://127.0.0.1:5000",
        "http://[::1]:5000/x",
        "https://host/path?x=1#part",
        "postgresql+psycopg2://host/name?user=me@corp",
        "s3://bucket/runs?region=eu-west-1&endpoint_override=http%3A%2F%2Fhost%3A9000",
    ],
)
def test_what_holds_no_secret_stays_as_it_is(uri: str) -> None:
    text = f"see '{uri}', ({uri}) or {uri}. training_key=01ab trial_key=02 key=3"
    assert redact_uri(uri) == uri
    assert redact(text) == text
    assert not is_unclear(uri)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("host=h password=hunter dbname=d", "host=h password=*** dbname=d"),
        ("password = 'two words' host=h", "password = *** host=h"),
        (r"password='it\'s' host=h", "password=*** host=h"),
        ("DRIVER=x;UID=me;PWD=hunter;Server=h", "DRIVER=x;UID=me;PWD=***"),
        ("Authorization: Bearer abc def", "Authorization: ***"),
        ("{'Authorization': 'Basic aGk=', 'a': 1}", "{'Authorization': ***, 'a': 1}"),
        ("curl -H 'X-Api-Key: abc'", "curl -H 'X-Api-Key: ***"),
        ('{"api_key": "abc", "a": 1}', '{"api_key": ***, "a": 1}'),
        ("bearer abc.def", "bearer ***"),
        ("AWS_SECRET_ACCESS_KEY=abc python x.py", "AWS_SECRET_ACCESS_KEY=*** python x.py"),
        ('API_KEY = "abc"  # mine', "API_KEY = ***  # mine"),
        ("s3://KEY:SEC/RET+x@bucket/a", "s3://***@bucket/a"),
        ("https://ghp_token@host/a", "https://***@host/a"),
        ("mssql:///?odbc_connect=DRIVER%3Dx%3BPWD%3Dabc&a=b", "mssql:///?odbc_connect=***&a=b"),
        ("http://h/?to=http%3A%2F%2Fme%3Aabc%40h", "http://h/?to=***"),
        ("port is postgresql://me:hunter", "port is postgresql://***"),
    ],
)
def test_other_forms_of_secrets(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_what_a_library_cuts_out_of_a_uri_is_hidden_when_the_uri_is_known() -> None:
    uri = "mysql://me:s3c/r3t%21@host/db?ssl_token=t0ken%2B"
    said = "bad port 's3c/r3t!', 's3c/r3t%21' for host; t0ken+ is no token"
    assert redact(said, uri) == "bad port '***', '***' for host; *** is no token"


def test_a_command_is_shown_without_secrets() -> None:
    argv = ["x.py", "--tracking-uri", "postgresql://u:two words@h/db", "--storage=s3://K:S@b/r"]
    argv += ["--password", "hunter", "--api-key=abc", "--set", "lambda_adv=0.1", "--out", "a@b"]
    assert redact_command(argv) == [
        *["x.py", "--tracking-uri", "postgresql://***@h/db", "--storage=s3://***@b/r"],
        *["--password", "***", "--api-key=***", "--set", "lambda_adv=0.1", "--out", "a@b"],
    ]


@pytest.mark.parametrize(
    "uri",
    [
        "http://u:a/b@h",
        "http://u:a@b@h",
        "s3://K:a?b@h",
        "http://u:a#b@h",
        "mysql://u:abc",
        "u:p@h",
    ],
)
def test_a_uri_is_unclear_when_parsers_may_split_it_differently(uri: str) -> None:
    assert is_unclear(uri)


def test_a_database_whose_password_sqlalchemy_reads_as_we_do_is_clear() -> None:
    assert not is_unclear("postgresql+psycopg2://u:a/b?c#d:e@h/db")


def test_a_uri_is_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("http://me:secret@host\nmore\n"))
    assert read_uri("-") == "http://me:secret@host"
    assert read_uri("http://other") == "http://other"


@pytest.mark.parametrize(
    "piece",
    [
        "://",
        "key=",
        "=",
        "a",
        "://u:p@",
        'password="',
        'password="\\"\n',
        "?token=x;",
        "http://u:x ",
        "%25",
    ],
)
def test_time_grows_as_the_text_does(piece: str) -> None:
    def seconds(count: int) -> float:
        text = piece * count
        begun = time.process_time()
        redact(text)
        redact_uri(f"http://{text}")
        return time.process_time() - begun

    # Eight times the text takes eight times as long; were it quadratic, it were 64 times.
    small = min(seconds(4_000) for _ in range(3))
    assert min(seconds(32_000) for _ in range(3)) < 30 * small + 0.01


def test_it_needs_the_standard_library_alone() -> None:
    names = "{name.partition('.')[0] for name in sys.modules}"
    program = f"import sys, trainable.storage.redaction; print(*{names})"
    command = [sys.executable, "-S", "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert loaded - set(sys.stdlib_module_names) == {"trainable", "__main__"}


def test_no_piece_of_a_secret_survives_any_frame() -> None:
    frames = ("{}", "'{}'", "[{}]", "x={}", "{}, then", "({})\n", "a\n{}\nb")
    uris = ("http://me:{}@h/p", "postgresql://{}@h/p", "https://h/?a=1&token={}", "s3://K:{}@b?x=y")
    for frame, uri, secret in itertools.product(frames, uris, ("s3c/r3t@1", "Zq:9?8#7", "x%2Fy@z")):
        whole = uri.format(secret)
        if is_unclear(whole) and "://{}@" in uri and "?" in secret:
            continue  # a name that has a `?` and no `:` before it: no parser would take it
        shown = redact(frame.format(whole), whole)
        assert secret not in shown
        assert not {"s3c", "r3t", "Zq", "x%2F"} & set(shown.replace("/", " ").split())


def test_control_characters_are_shown_as_they_are_written() -> None:
    assert printable("a\x1b[31mred\x07\r\nb\u202ec\x9b1mü") == (
        r"a\x1b[31mred\x07\r" "\n" r"b\u202ec\x9b1mü"
    )
