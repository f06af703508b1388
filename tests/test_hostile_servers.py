"""Downloads from servers that answer with something else, without an end, or elsewhere."""

from __future__ import annotations

import http.client
import os
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from pictures_on_disk import original, zipped

from amlnn_datasets import tiny_imagenet
from pytest_amlnn import cli, download
from pytest_amlnn.download import DownloadError

BODY = bytes(range(256)) * 100
LOGIN = b"<html>Sign in</html>"
Answer = bytes | Callable[[socket.socket], None]


def answer(body: bytes = BODY, status: str = "200 OK", **headers: object) -> bytes:
    """Return an answer as it goes over the wire; a header that is None is left out."""
    fields = {"Content-Length": len(body)}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    head = [f"HTTP/1.1 {status}", *lines, "Connection: close", "", ""]
    return "\r\n".join(head).encode() + body


@contextmanager
def serving(*answers: Answer) -> Iterator[tuple[str, list[str]]]:
    """Give one answer after the other, the last for ever; yield the URL, and what is asked."""
    asked: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def serve() -> None:
            for number in range(100):
                with suppress(OSError), server.accept()[0] as connection:
                    asked.append(connection.recv(1 << 16).decode())
                    given = answers[min(number, len(answers) - 1)]
                    connection.sendall(given) if isinstance(given, bytes) else given(connection)
                    connection.shutdown(socket.SHUT_WR)
                if server.fileno() < 0:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/file.zip", asked
        server.shutdown(socket.SHUT_RDWR)


def endless(connection: socket.socket) -> None:
    """Send without an end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(bytes(1 << 16))


def endless_chunks(connection: socket.socket) -> None:
    """Send chunks without an end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + bytes(1 << 16) + b"\r\n")


def trickle(connection: socket.socket) -> None:
    """Send a byte now and then."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def to(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("AMLNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "folder" / "file.bin"


def get(url, to, **changes):
    """Download what is known by its size alone, unless told otherwise."""
    known = {"size": len(BODY), "sha256": None, "timeout": 1.0, **changes}
    return download.download(url, to, **known)


def left(to):
    """Return what a download left beside its place."""
    return sorted(path.name for path in to.parent.glob("*") if path.suffix != ".lock")


def test_login_page_is_not_kept_as_the_archive(tmp_path, capsys):
    """What is no archive is said to be what it is, is not kept, and is asked for again."""
    with serving(answer(LOGIN), answer(zipped(original()))) as (url, asked):
        first = cli.main(["fetch", "tiny-imagenet", "--url", url])
        told = capsys.readouterr().err
        home = tmp_path / "cache" / "tiny-imagenet"
        kept = [path.name for path in home.iterdir() if path.suffix != ".lock"]
        second = cli.main(["fetch", "tiny-imagenet", "--url", url])
        third = cli.main(["fetch", "tiny-imagenet", "--url", url])

    assert (first, second, third) == (1, 0, 0)
    assert "not a zip, but a web page" in told
    assert kept == []
    assert len(asked) == 2


def test_login_page_that_was_kept_is_replaced(tmp_path):
    """What an earlier version kept as the archive is looked at, too."""
    kept = tmp_path / "cache" / "tiny-imagenet" / "tiny-imagenet-200.zip"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(LOGIN)
    with serving(answer(zipped(original()))) as (url, _):
        assert tiny_imagenet.fetch(url=url) == [kept]

    tiny_imagenet.check(kept)


def test_damaged_picture_in_a_fetched_archive_is_found(tmp_path, capsys):
    """`--verify` reads every picture of an archive of unknown digest, and gets it again."""
    whole = zipped(original())
    damaged = whole.replace(original()["train/n10/images/n10_7.JPEG"][100:140], bytes(40))
    with serving(answer(damaged), answer(whole)) as (url, asked):
        command = ["fetch", "tiny-imagenet", "--url", url]
        assert [cli.main(command), cli.main(command), len(asked)] == [0, 0, 1]
        assert [cli.main([*command, "--verify"]), len(asked)] == [0, 2]

    assert tiny_imagenet.locate(None).read_bytes() == whole


@pytest.mark.parametrize("server", [endless, endless_chunks])
@pytest.mark.parametrize("known", [{"size": None, "limit": 1_000_000}, {}], ids=["no", "size"])
def test_body_without_end_is_cut_off(to, server, known):
    """No more is written than a file may have, and nothing of it stays."""
    with serving(server) as (url, _), pytest.raises(DownloadError, match="sends more"):
        get(url, to, **known)
    assert left(to) == []


def test_body_that_would_fill_the_disk_is_cut_off(to, monkeypatch):
    """Of a file of unknown size no more is written than the disk has room for."""
    usage = download.shutil.disk_usage("/")._replace(free=download.ROOM + 1_000_000)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: usage)
    with serving(endless) as (url, _), pytest.raises(DownloadError, match="room"):
        get(url, to, size=None)

    assert not to.exists()
    assert to.with_name("file.bin.part").stat().st_size < 2_000_000


def test_announced_size_is_compared_with_the_room(to, monkeypatch):
    """A file that the disk has no room for is not begun."""
    usage = download.shutil.disk_usage("/")._replace(free=download.ROOM + 10)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: usage)
    with (
        serving(answer()) as (url, _),
        pytest.raises(DownloadError, match=r"25,600 bytes are to come, room is for 10"),
    ):
        get(url, to)


def test_announced_size_is_compared_with_the_limit(to):
    """A file that says it is too large is refused before it arrives."""
    with (
        serving(answer(b"", Content_Length=10**15)) as (url, _),
        pytest.raises(DownloadError, match=r"at most 1,000 bytes, the server has 1,000,"),
    ):
        get(url, to, size=None, limit=1000)


@pytest.fixture
def plain_https(monkeypatch):
    """Let https addresses be spoken to without encryption."""

    class Plain(urllib.request.HTTPSHandler):
        def https_open(self, request):
            return self.do_open(http.client.HTTPConnection, request)

    monkeypatch.setattr(urllib.request, "HTTPSHandler", Plain)


@pytest.mark.parametrize("code", ["301 Moved", "302 Found", "303 See Other", "307 T", "308 P"])
def test_https_is_not_left_for_http(to, plain_https, code):
    """A redirect from https to http is refused, and the other server is not asked."""
    with serving(answer()) as (other, asked):
        start = answer(b"", code, Location=other)
        with (
            serving(start) as (url, _),
            pytest.raises(DownloadError, match="from https to http"),
        ):
            get(url.replace("http", "https"), to)

    assert asked == []


def test_redirects_that_stay_safe_are_followed(to, plain_https):
    """From https to https, and from http to either, a redirect is followed."""
    with serving(answer()) as (other, _):
        start = answer(b"", "302 Found", Location=other.replace("http", "https"))
        with serving(start) as (url, _):
            assert get(url.replace("http", "https"), to).read_bytes() == BODY
            to.unlink()
            assert get(url, to).read_bytes() == BODY


def test_redirects_end(to):
    """A server that leads in a circle is left."""

    def circle(connection):
        connection.sendall(answer(b"", "302 Found", Location="/again"))

    with serving(circle) as (url, asked), pytest.raises(DownloadError, match="302"):
        get(url, to)
    assert len(asked) < 20


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (answer(Content_Encoding="gzip"), "compressed"),
        (answer(b"", "204 No Content"), "answered 204"),
        (answer(BODY[:100], "206 Partial Content"), "a part was sent"),
        (answer(BODY[:100], "206 P", Content_Range="bytes 5-104/25600"), "a part was sent"),
        (answer(BODY[:99], Content_Length=25_600), "cut at 99 of 25,600"),
        (answer(Content_Length=100), "the server has 100"),
        (answer(Content_Length=None) + b"more", "sends more"),
        (b"SSH-2.0-OpenSSH\r\n", "SSH-2.0"),
        (b"", "closed"),
    ],
)
def test_odd_answers_are_refused(to, odd, words):
    """What an answer is not is said, and no part of it passes as the file."""
    with serving(odd) as (url, _), pytest.raises(DownloadError, match=words) as caught:
        get(url, to)

    assert str(caught.value).startswith(url)
    assert not to.exists()


@pytest.mark.parametrize(
    "odd",
    [
        answer(BODY[500:], "206 P", Content_Range="bytes 500-25599/25600"),
        answer(BODY[100:], "206 P", Content_Range="bytes 9999-25599/25600"),
        answer(BODY[100:], "206 P", Content_Range="bytes 100-25599/*"),
        answer(BODY[100:], "206 P", Content_Range="pages 1-2/3"),
        answer(BODY[100:], "206 P", Content_Range="bytes 100-30000/25600"),
        answer(BODY[100:], "206 P"),
        answer(b"", "416 Range Not Satisfiable"),
    ],
)
def test_part_that_does_not_continue_ours_is_not_used(to, odd):
    """A range that was not asked for is not put behind what we have: all is asked for anew."""
    to.parent.mkdir()
    to.with_name("file.bin.part").write_bytes(BODY[:100])
    with serving(odd, answer()) as (url, asked):
        assert get(url, to).read_bytes() == BODY

    assert [bool(re.search("Range: bytes=100-", text)) for text in asked] == [True, False]


def test_trickle_is_given_up(to):
    """A server that keeps a connection alive with a byte now and then does not hold us."""
    began = time.monotonic()
    with serving(trickle) as (url, _), pytest.raises(DownloadError, match="timed out"):
        get(url, to, size=1000, timeout=0.3)

    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "url",
    [
        *("http://[::1", "http://127.0.0.1:port/x", "http:///x", "https://", "http://\x1b[2J/"),
        *("http://127.0.0.1:1/\xe9", "http://" + "a" * 300 + "/", "http://127.0.0.1:1/a b"),
        *("http://127.0.0.1:99999/", "\ud800://x", "http://\udce9/", "http://127.0.0.1:0/"),
    ],
)
def test_addresses_that_are_none_are_named(to, url):
    """An address that cannot be one is refused in words that can be shown."""
    with pytest.raises(DownloadError) as caught:
        get(url, to)

    assert str(caught.value).encode()
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("name", ["file.bin.part", "file.bin.lock", "file.bin"])
def test_planted_links_are_not_written_through(to, name, tmp_path):
    """A link in place of a file of the download is replaced; what it leads to stays."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"kept")
    to.parent.mkdir()
    (to.parent / name).symlink_to(victim)
    with serving(answer()) as (url, _):
        assert get(url, to).read_bytes() == BODY

    assert victim.read_bytes() == b"kept"
    assert not to.is_symlink()


def test_planted_hard_link_is_not_written_to(to, tmp_path):
    """A file that has another name elsewhere is not appended to."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"kept")
    to.parent.mkdir()
    to.with_name("file.bin.part").hardlink_to(victim)
    with (
        serving(answer()) as (url, _),
        pytest.raises(DownloadError, match="no file of its"),
    ):
        get(url, to)

    assert victim.read_bytes() == b"kept"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_planted_pipe_does_not_hold_us(to):
    """A pipe in place of a part is an error, not a wait."""
    to.parent.mkdir()
    os.mkfifo(to.with_name("file.bin.part"))
    with serving(answer()) as (url, _), pytest.raises(DownloadError, match=r"\.part"):
        get(url, to)


def test_folder_that_everybody_may_write_is_refused(to):
    """Nothing is downloaded to where others could exchange it."""
    to.parent.mkdir()
    to.parent.chmod(0o777)
    with serving(answer()) as (url, asked), pytest.raises(DownloadError, match="chmod o-w"):
        get(url, to)

    assert asked == []
    assert not Path(f"{to}.lock").exists()
