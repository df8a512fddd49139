"""Downloads against a local server, and archives that mean harm."""

import hashlib
import http.server
import io
import os
import stat
import tarfile
import threading
import zipfile

import pytest

from speechgru.data import download as download_module
from speechgru.data.archive import extract
from speechgru.data.corpora.fsdd import FSDD, FSDDConfig
from speechgru.data.corpora.speech_commands import ALL, NOISE, SpeechCommands, SpeechCommandsConfig
from speechgru.data.download import download, fetch_archive
from speechgru.errors import DataError

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files``; ``cut`` answers break after so many bytes; ``requests`` remembers path and Range header."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cut, self.ranges, self.errors, self.requests = {}, [], True, [], []

    def url(self, name):
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.requests.append((self.path, self.headers.get("Range")))
        content = server.files.get(self.path.lstrip("/"))
        if server.errors:
            self.send_error(server.errors.pop(0))
            return
        if content is None:
            self.send_error(404)
            return
        start = 0
        if server.ranges and self.headers.get("Range"):
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cut.pop(0)] if server.cut else body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    running = Server()
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    running.files["file"] = CONTENT
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def fetch(server, path, name="file", **more):
    return download(server.url(name), path, retry_wait_s=0.0, **more)


def names(folder):
    return sorted(str(one.relative_to(folder)) for one in folder.rglob("*"))


def test_download_is_whole_and_not_repeated(server, tmp_path):
    """Oracle: the bytes served; the number of requests."""
    path = tmp_path / "new/file"
    fetch(server, path, sha256=SHA256.upper(), md5=hashlib.md5(CONTENT).hexdigest())
    assert path.read_bytes() == CONTENT
    fetch(server, path, sha256=SHA256)
    assert len(server.requests) == 1
    path.write_bytes(b"changed")
    fetch(server, path, sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["new", "new/file"]


def test_cut_download_goes_on_where_it_was_cut(server, tmp_path):
    """Oracle: the Range header of the second request, the bytes served."""
    server.cut = [100_000]
    fetch(server, tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.requests == [("/file", None), ("/file", "bytes=100000-")]


def test_killed_download_goes_on_in_a_later_run(server, tmp_path):
    """Oracle: as above; also where the part is whole already (416) or the server knows no ranges."""
    for there, ranges in ((1000, True), (len(CONTENT), True), (1000, False)):
        server.ranges, server.requests = ranges, []
        (tmp_path / "file.part").write_bytes(CONTENT[:there])
        fetch(server, tmp_path / "file", sha256=SHA256)
        assert (tmp_path / "file").read_bytes() == CONTENT
        assert server.requests == [("/file", f"bytes={there}-")]
        (tmp_path / "file").unlink()


def test_without_checksum_nothing_is_pieced_together(server, tmp_path):
    """Oracle: no Range header is ever sent."""
    (tmp_path / "file.part").write_bytes(b"older")
    server.cut = [5000]
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, None]


def test_wrong_checksum_leaves_nothing(server, tmp_path):
    """Oracle: the message names both sums; the folder is empty; a stale part is gone, so that the next run works."""
    with pytest.raises(DataError, match=f"its sha256 is {SHA256}, not {'0' * 64}"):
        fetch(server, tmp_path / "file", sha256="0" * 64)
    assert names(tmp_path) == []
    (tmp_path / "file.part").write_bytes(b"of another file")
    with pytest.raises(DataError, match="removed, run again"):
        fetch(server, tmp_path / "file", sha256=SHA256)
    fetch(server, tmp_path / "file", sha256=SHA256)


def test_server_and_network_errors(server, tmp_path):
    """Oracle: one clear line each, the number of attempts."""
    with pytest.raises(DataError, match="404 Not Found; check the address"):
        fetch(server, tmp_path / "file", "missing")
    assert len(server.requests) == 1
    server.errors = [503, 503]
    fetch(server, tmp_path / "file", sha256=SHA256)
    server.cut = [10, 10, 10, 10]
    with pytest.raises(DataError, match=r"4 attempts failed.*cut after 40 of.*run again to go on"):
        fetch(server, tmp_path / "other", sha256=SHA256)
    assert (tmp_path / "other.part").stat().st_size == 40
    with pytest.raises(DataError, match="not an http"):
        download("file:///etc/passwd", tmp_path / "x")
    with pytest.raises(DataError, match="attempts failed"):
        download("http://127.0.0.1:9/x", tmp_path / "x", retry_wait_s=0.0)
    (tmp_path / "plain").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        fetch(server, tmp_path / "plain/x")


def tar_of(path, members, mode="w:gz"):
    """A tar of (TarInfo changes, bytes)."""
    with tarfile.open(path, mode) as tar:
        for name, changes, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for key, value in changes.items():
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO(content))
    return path


def zip_of(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, changes, content in members:
            member = zipfile.ZipInfo(name)
            member.compress_type = zipfile.ZIP_DEFLATED
            for key, value in changes.items():
                setattr(member, key, value)
            file.writestr(member, content)
    return path


GOOD = [("./top/a/x.wav", {}, b"xx"), ("top/a/", {}, b""), ("top/b/y.wav", {}, CONTENT), ("top/empty", {}, b"")]


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.xz", "zip"])
def test_good_archives_unpack(tmp_path, kind):
    """Oracle: the members; permissions of the archive are not taken over; second-run leftovers are removed."""
    members = [
        (name, {"type": tarfile.DIRTYPE} if name.endswith("/") else {"mode": 0o4777}, data) for name, _, data in GOOD
    ]
    if kind == "zip":
        archive = zip_of(tmp_path / "z", [(name, {}, data) for name, _, data in GOOD])
    else:
        archive = tar_of(tmp_path / "z", members, f"w:{kind.partition('.')[2]}")
    (tmp_path / "in/.out.unpacking/old").mkdir(parents=True)
    extract(archive, tmp_path / "in/out", strip=1)
    assert names(tmp_path / "in") == ["out", "out/a", "out/a/x.wav", "out/b", "out/b/y.wav", "out/empty"]
    assert (tmp_path / "in/out/b/y.wav").read_bytes() == CONTENT
    assert not stat.S_IMODE((tmp_path / "in/out/a/x.wav").stat().st_mode) & 0o7111
    extract(archive, tmp_path / "in/some", strip=1, only=("a",))
    assert names(tmp_path / "in/some") == ["a", "a/x.wav"]


def test_unpacking_into_a_folder_in_use_adds_and_never_overwrites(tmp_path):
    """Oracle: the files that were there; through a symbolic link to the folder, as people keep data on other disks."""
    archive = tar_of(tmp_path / "z.tar.gz", GOOD[:1] + GOOD[2:])
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/mine.txt").write_text("mine")
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    extract(archive, tmp_path / "out", strip=1, only=("a",))
    assert names(tmp_path / "disk") == ["a", "a/x.wav", "mine.txt"]
    with pytest.raises(DataError, match="a: is there already"):
        extract(archive, tmp_path / "out", strip=1)
    assert names(tmp_path / "disk") == ["a", "a/x.wav", "mine.txt"]
    assert (tmp_path / "disk/mine.txt").read_text() == "mine"


LINK = {"type": tarfile.SYMTYPE, "linkname": "/etc"}
HOSTILE_TARS = {
    "parent": ([("../evil", {}, b"x")], "leads outside"),
    "inner parent": ([("a/../../evil", {}, b"x")], "leads outside"),
    "absolute": ([("/tmp/evil", {}, b"x")], "leads outside"),
    "backslash": ([("..\\evil", {}, b"x")], "leads outside"),
    "drive": ([("C:evil", {}, b"x")], "leads outside"),
    "symlink": ([("a", LINK, b""), ("a/evil", {}, b"x")], "is a link"),
    "hard link": ([("a", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}, b"")], "is a link"),
    "device": ([("a", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}, b"")], "is a device"),
    "pipe": ([("a", {"type": tarfile.FIFOTYPE}, b"")], "is a device or other special file"),
    "twice": ([("a", {}, b"x"), ("./a", {}, b"y")], "is there twice"),
    "file and folder": ([("a", {}, b"x"), ("a/b", {}, b"y")], "cannot be unpacked"),
    "long name": ([("a" * 300, {}, b"x")], "cannot be unpacked"),
    "nothing": ([], "holds nothing"),
}


@pytest.mark.parametrize("case", HOSTILE_TARS)
def test_hostile_tars_leave_nothing(tmp_path, case):
    """Oracle: the message, and that the folder around is as before; a good file before the bad one does not stay."""
    members, told = HOSTILE_TARS[case]
    archive = tar_of(tmp_path / "z.tar.gz", ([("good/file", {}, b"x")] if members else []) + members)
    with pytest.raises(DataError) as error:
        extract(archive, tmp_path / "deep/er/out")
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert names(tmp_path) == ["deep", "deep/er", "z.tar.gz"]


def test_hostile_zips_leave_nothing(tmp_path):
    """Oracle: as for tars."""
    link = {"external_attr": (stat.S_IFLNK | 0o777) << 16, "create_system": 3}
    for name, changes, told in (("../evil", {}, "outside"), ("/evil", {}, "outside"), ("a", link, "is a link")):
        archive = zip_of(tmp_path / "z.zip", [("good", {}, b"x"), (name, changes, b"/etc/passwd")])
        with pytest.raises(DataError, match=told):
            extract(archive, tmp_path / "out")
        assert names(tmp_path) == ["z.zip"]


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_bombs_are_refused_before_they_fill_the_disk(tmp_path, kind):
    """Oracle: 100 MB of zeros in a small archive pass the ratio limit of 64 MB; a stated limit cuts smaller ones."""
    bomb = [("a", {}, bytes(100 << 20))]
    archive = tar_of(tmp_path / "z", bomb) if kind == "tar" else zip_of(tmp_path / "z", bomb)
    assert archive.stat().st_size < 1 << 20
    with pytest.raises(DataError, match="suspiciously much"):
        extract(archive, tmp_path / "out")
    small = tar_of(tmp_path / "s", [("a", {}, bytes(600)), ("b", {}, bytes(600))])
    with pytest.raises(DataError, match=r"suspiciously much.*'b'"):
        extract(small, tmp_path / "out", max_bytes=1000)
    with pytest.raises(DataError, match="suspiciously much"):
        extract(small, tmp_path / "out", max_bytes=1000, only=("b",))  # what is skipped is decompressed all the same
    assert names(tmp_path) == ["s", "z"]


def test_damaged_archives(tmp_path):
    """Oracle: every cut of a good archive is refused or gives all of it; other files are no archives."""
    whole = tar_of(tmp_path / "w.tar.gz", [*GOOD[:1], ("top/r", {}, os.urandom(3000))]).read_bytes()
    for cut in (0, 1, 20, len(whole) // 2, len(whole) - 9):
        (tmp_path / "z").write_bytes(whole[:cut])
        with pytest.raises(DataError, match=r"z: (is damaged|holds nothing|cannot)"):
            extract(tmp_path / "z", tmp_path / "out")
    zipped = zip_of(tmp_path / "w.zip", GOOD[2:3]).read_bytes()
    (tmp_path / "z").write_bytes(zipped[:60] + b"\xff\xff" + zipped[62:])
    with pytest.raises(DataError, match="damaged"):
        extract(tmp_path / "z", tmp_path / "out")
    with pytest.raises(DataError, match="cannot be unpacked"):
        extract(tmp_path / "missing", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_fetch_archive_removes_it_only_when_unpacked(server, tmp_path):
    """Oracle: the files left; a hostile archive is kept out."""
    server.files["good.tar.gz"] = tar_of(tmp_path / "g", GOOD[:1]).read_bytes()
    server.files["bad.tar.gz"] = tar_of(tmp_path / "b", [("../x", {}, b"x")]).read_bytes()
    fetch_archive(server.url("good.tar.gz"), tmp_path / "data/corpus", strip=1)
    assert names(tmp_path / "data") == ["corpus", "corpus/a", "corpus/a/x.wav"]
    with pytest.raises(DataError, match="outside"):
        fetch_archive(server.url("bad.tar.gz"), tmp_path / "data/other")
    assert not (tmp_path / "data/other").exists()


def test_prepare_speech_commands(server, tmp_path, monkeypatch):
    """Oracle: a tiny copy of both official archives; twice asks once; a folder in use is left alone."""
    from speechgru.data.corpora import speech_commands as module

    lists = [("./validation_list.txt", {}, b""), ("./testing_list.txt", {}, b"yes/a_nohash_0.wav\n")]
    words = [(f"./{word}/a_nohash_0.wav", {}, b"RIFF") for word in [*ALL, NOISE]]
    server.files["v.tar.gz"] = tar_of(tmp_path / "1", lists + words).read_bytes()
    test_set = [(f"{word}/t.wav", {}, b"RIFF") for word in ("yes", "_silence_", "_unknown_")]
    server.files["t.tar.gz"] = tar_of(tmp_path / "2", test_set).read_bytes()
    monkeypatch.setattr(module, "URL", server.url("v.tar.gz"))
    monkeypatch.setattr(module, "TEST_URL", server.url("t.tar.gz"))
    monkeypatch.setattr(module, "SHA256", hashlib.sha256(server.files["v.tar.gz"]).hexdigest())
    root = tmp_path / "data/sc"
    corpus = SpeechCommands(SpeechCommandsConfig(root=str(root), words=["all"], unknown=False))
    corpus.prepare()
    assert [path for path, _ in server.requests] == ["/v.tar.gz", "/t.tar.gz"]
    assert (root / "_unknown_/t.wav").exists()
    assert not (root / "yes/t.wav").exists()
    assert [one.label for one in corpus.utterances("test")] == ["yes"]
    corpus.prepare()
    assert len(server.requests) == 2
    (root / "bed/a_nohash_0.wav").unlink()
    (root / "bed").rmdir()
    with pytest.raises(DataError, match="is not empty and lacks bed; move it away"):
        corpus.prepare()
    assert len(server.requests) == 2
    assert names(tmp_path / "data")[0] == "sc"
    assert len(list((tmp_path / "data").iterdir())) == 1


def test_prepare_fsdd_counts_recordings(server, tmp_path, monkeypatch):
    """Oracle: a GitHub-like archive with the folder of its tag on top."""
    from speechgru.data.corpora import fsdd as module

    files = [(f"free-spoken-digit-dataset-1.0.10/recordings/{digit}_ann_0.wav", {}, b"RIFF") for digit in range(10)]
    server.files["v.tar.gz"] = tar_of(
        tmp_path / "1", [*files, ("free-spoken-digit-dataset-1.0.10/l", LINK, b"")]
    ).read_bytes()
    monkeypatch.setattr(module, "URL", server.url("v.tar.gz"))
    monkeypatch.setattr(module, "RECORDINGS", 10)
    corpus = FSDD(FSDDConfig(root=str(tmp_path / "fsdd")))
    corpus.prepare()
    corpus.prepare()
    assert len(server.requests) == 1
    assert corpus.speakers() == ["ann"]
    monkeypatch.setattr(module, "RECORDINGS", 11)
    with pytest.raises(DataError, match="is not empty and lacks"):
        corpus.prepare()
    with pytest.raises(DataError, match="10 recordings instead of 11"):
        FSDD(FSDDConfig(root=str(tmp_path / "other"))).prepare()


def test_addresses_are_the_official_ones():
    """Oracle: torchaudio's own table of checksums (read as text; importing its dataset is not needed)."""
    import importlib.util
    from pathlib import Path

    from speechgru.data.corpora import speech_commands as module

    spec = importlib.util.find_spec("torchaudio")
    if spec is None:
        pytest.skip("needs the extra torchaudio")
    assert spec.origin is not None
    table = (Path(spec.origin).parent / "datasets/speechcommands.py").read_text()
    assert f'"{module.URL}": "{module.SHA256}"' in table
    assert download_module._TRIES > 1
