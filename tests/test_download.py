"""What downloads promise, tried against small servers on this machine."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pictures_on_disk import original, zipped

from amlnn_datasets import tiny_imagenet
from pytest_amlnn.download import DownloadError, cache_folder, download

BODY = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(BODY).hexdigest()


@dataclass
class Site:
    """A server's file and manners, which a test changes between two requests."""

    url: str = ""
    body: bytes = BODY
    ranges: bool = True
    cut: int | None = None
    """Bytes after which the connection ends."""
    asked: list[str | None] = field(default_factory=list)
    """The Range header of each request."""


class Handler(BaseHTTPRequestHandler):
    """Serve the site's file, as badly as the site says."""

    site: Site

    def do_GET(self):
        """Answer with the whole file, the end that was asked for, or an error."""
        site = self.site
        asked = self.headers["Range"]
        site.asked.append(asked)
        if self.path != "/file.bin":
            self.redirect_or_deny()
            return
        total = len(site.body)
        first = int(re.findall(r"\d+", asked)[0]) if asked and site.ranges else 0
        if asked and site.ranges and first >= total:
            self.send_error(416)
            return
        self.send_response(206 if asked and site.ranges else 200)
        if asked and site.ranges:
            self.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
        self.send_header("Content-Length", str(total - first))
        self.end_headers()
        with suppress(ConnectionError):  # from those who have seen enough
            self.wfile.write(site.body[first : site.cut])

    def redirect_or_deny(self):
        """Lead /away to a local file, and everything else nowhere."""
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1/file.bin")
            self.end_headers()
        else:
            self.send_error(404)

    def log_message(self, *_):
        """Stay silent."""


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    found = Site()
    handler = type("SiteHandler", (Handler,), {"site": found})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        found.url = f"http://127.0.0.1:{server.server_port}/file.bin"
        yield found
        server.shutdown()
        thread.join()


@pytest.fixture
def to(tmp_path):
    return tmp_path / "folder" / "file.bin"


@pytest.fixture
def part(to):
    return to.with_name("file.bin.part")


def get(site, to, **changes):
    """Download the site's file with everything known about it."""
    known = {"size": len(BODY), "sha256": SHA256, **changes}
    return download(site.url, to, **known)


def test_file_arrives_whole(site, to, part):
    """The file has the server's bytes, and nothing half-written lies beside it."""
    assert get(site, to) == to
    assert to.read_bytes() == BODY
    assert not part.exists()


@pytest.mark.parametrize("known", [{"sha256": None}, {"size": None}])
def test_size_or_digest_suffices(site, to, known):
    """A file may be known by its size or by its SHA-256 alone."""
    assert get(site, to, **known).read_bytes() == BODY


def test_empty_file_arrives(site, to):
    """A file of no bytes is a file."""
    site.body = b""

    assert get(site, to, size=0, sha256=None).read_bytes() == b""


def test_verified_file_is_left_as_it_is(site, to):
    """A second download asks the server for nothing."""
    get(site, to)
    before = to.stat().st_mtime_ns
    get(site, to)

    assert len(site.asked) == 1
    assert to.stat().st_mtime_ns == before


def test_other_file_in_its_place_is_replaced(site, to):
    """A file that is not the one that is wanted is downloaded again."""
    to.parent.mkdir()
    to.write_bytes(b"other")

    assert get(site, to).read_bytes() == BODY


def test_cut_download_says_how_to_go_on(site, to, part):
    """A connection cut midway keeps what arrived, and the error says so."""
    site.cut = 500_000

    with pytest.raises(DownloadError, match=r"500,000 bytes are kept .* resumes"):
        get(site, to)
    assert part.read_bytes() == BODY[:500_000]
    assert not to.exists()


def test_cut_download_resumes(site, to, part):
    """The next download asks only for what is missing."""
    site.cut = 500_000
    with pytest.raises(DownloadError):
        get(site, to)
    site.cut = None

    assert get(site, to).read_bytes() == BODY
    assert site.asked == [None, "bytes=500000-"]
    assert not part.exists()


def test_server_without_ranges_starts_anew(site, to, part):
    """A server that sends everything again does not double the file."""
    to.parent.mkdir()
    part.write_bytes(BODY[:1000])
    site.ranges = False

    assert get(site, to).read_bytes() == BODY


def test_complete_part_needs_no_server(to, part, site):
    """What was complete when its process died is only verified."""
    to.parent.mkdir()
    part.write_bytes(BODY)

    assert get(site, to).read_bytes() == BODY
    assert site.asked == []


@pytest.mark.parametrize("length", [len(BODY), len(BODY) + 9])
def test_part_that_the_server_has_no_end_for_is_dropped(site, to, part, length):
    """On `416 Range Not Satisfiable` the download starts anew."""
    to.parent.mkdir()
    part.write_bytes(bytes(length))

    assert get(site, to, size=None).read_bytes() == BODY
    assert site.asked == [f"bytes={length}-", None]


def test_unknown_file_is_not_pieced_together(site, to, part):
    """With neither size nor SHA-256, an old part is not trusted."""
    to.parent.mkdir()
    part.write_bytes(b"old")

    assert get(site, to, size=None, sha256=None).read_bytes() == BODY
    assert site.asked == [None]


def test_cut_unknown_file_does_not_promise_to_resume(site, to):
    """With neither size nor SHA-256, the error says that it will start again."""
    site.cut = 500_000

    with pytest.raises(DownloadError, match="tries again"):
        get(site, to, size=None, sha256=None)


def test_wrong_digest_names_both(site, to, part):
    """Another file of the same size is refused and removed."""
    site.body = BODY[::-1]
    actual = hashlib.sha256(site.body).hexdigest()

    with pytest.raises(DownloadError, match=f"{SHA256}, got {actual}") as caught:
        get(site, to)
    assert site.url in str(caught.value)
    assert not part.exists()
    assert not to.exists()


@pytest.mark.parametrize("kept", [0, 1000])
def test_changed_file_is_told_by_its_size(site, to, part, kept):
    """A server whose file has another size now is refused before it is downloaded."""
    to.parent.mkdir()
    part.write_bytes(BODY[:kept])
    site.body = BODY + b"more"

    with pytest.raises(
        DownloadError, match="expected 1,024,000 bytes, the server has 1,024,004"
    ):
        get(site, to)
    assert not part.exists()


def test_refused_file_leaves_the_old_one(site, to):
    """A download that fails does not harm what was there."""
    to.parent.mkdir()
    to.write_bytes(b"other")
    site.body = BODY[::-1]

    with pytest.raises(DownloadError):
        get(site, to)
    assert to.read_bytes() == b"other"


def test_missing_file_is_named(site, to):
    """An address without a file is named with the server's words."""
    site.url = site.url.replace("file.bin", "nothing")

    with pytest.raises(DownloadError, match=r"/nothing: .*404"):
        get(site, to)


def test_server_that_is_down_is_named(to):
    """Without a server the error names the address and what to do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/file.bin"

    with pytest.raises(DownloadError, match=r"refused.*tries again"):
        download(url, to, size=1, sha256=None)


def test_silent_server_times_out(to):
    """A server that accepts and says nothing does not hold us for ever."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file.bin"
        with pytest.raises(DownloadError, match="timed out"):
            download(url, to, size=1, sha256=None, timeout=0.2)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "x.zip"])
def test_only_http_is_opened(to, url):
    """Other kinds of address are refused unopened."""
    with pytest.raises(DownloadError, match="only http and https"):
        download(url, to, size=None, sha256=None)


def test_redirects_lead_to_http_only(site, to):
    """A server cannot lead a download to another kind of address."""
    site.url = site.url.replace("file.bin", "away")

    with pytest.raises(DownloadError, match="ftp"):
        get(site, to)


def test_folder_that_cannot_be_made_is_named(site, tmp_path):
    """A file where a folder is needed ends in a DownloadError too."""
    (tmp_path / "file").touch()

    with pytest.raises(DownloadError, match="file"):
        get(site, tmp_path / "file" / "file.bin")


def test_download_is_announced_in_one_line(site, to, capsys):
    """Without a terminal one line names the address and the file."""
    get(site, to)

    (line,) = capsys.readouterr().err.splitlines()
    assert site.url in line
    assert str(to) in line


def test_cache_folder_can_be_moved(monkeypatch, tmp_path):
    """The environment variable AMLNN_CACHE moves the cache."""
    monkeypatch.setenv("AMLNN_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("AMLNN_CACHE")
    assert cache_folder().name == "amlnn"


def test_fetched_archive_is_located_and_used(site, tmp_path, monkeypatch):
    """What `fetch` brings is found without naming it, and can be trained on."""
    monkeypatch.setenv("AMLNN_CACHE", str(tmp_path))
    monkeypatch.setenv("AMLNN_TINY_IMAGENET_URL", site.url)
    site.body = zipped(original())
    (path,) = tiny_imagenet.fetch()

    assert path == tiny_imagenet.locate(None)
    tiny_imagenet.check(path)
    assert len(tiny_imagenet.splits(path, size=6, classes=3, validation=3).train) == 6


def test_official_archive_is_verified(site, to, monkeypatch):
    """Only the official file passes as what the official address serves."""
    monkeypatch.setattr(tiny_imagenet, "URL", site.url)
    monkeypatch.delenv("AMLNN_TINY_IMAGENET_URL", raising=False)

    with pytest.raises(DownloadError, match="expected 248,100,043 bytes"):
        tiny_imagenet.fetch(to=to)
    monkeypatch.setattr(tiny_imagenet, "SIZE", None)
    with pytest.raises(DownloadError, match=f"SHA-256 {tiny_imagenet.SHA256}"):
        tiny_imagenet.fetch(to=to)
