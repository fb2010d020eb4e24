import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import SHARED, read_only
from hypothesis import given
from hypothesis import strategies as st

from lstm import corpus
from lstm.config import Refused


def test_the_book_cleans_to_the_benchmark_byte_for_byte(benchmark_texts):
    [book] = corpus.read([str(SHARED / "corpora" / "jungle-book.txt")])
    assert book.text.encode() == "".join(benchmark_texts.values()).encode()
    assert corpus.split(book.text) == tuple(benchmark_texts.values())


def test_cleaning_a_clean_text_changes_nothing(benchmark_texts):
    for text in benchmark_texts.values():
        assert corpus.clean(text.encode(), "x") == text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_are_recognised(encoding):
    text = "“Café”—the naïve wolf’s song.\nAgain\n"
    assert corpus.clean(text.encode(encoding), "x") == text


@pytest.mark.parametrize(
    ("raw", "offset"),
    [(b"abc\x00def", 3), (b"\x89PNG\r\n\x1a\n", 6), (b"a wolf \x81 ran", 7), ("волк".encode("koi8-r") * 9, 0)],
)
def test_other_bytes_are_refused_by_name_and_offset(raw, offset):
    with pytest.raises(Refused, match=rf"^prey\.txt .*at offset {offset}\b"):
        corpus.decode(raw, "prey.txt")


def test_gutenbergs_frame_indentation_and_spaces_go_but_verse_stays():
    raw = (
        "Title: X\r\n*** START OF THE PROJECT GUTENBERG EBOOK X ***\r\n\r\n\r\n"
        "  One  \r\n\r\n\r\n\r\n     verse\r\n       deeper\r\n  two\r\n\r\n"
        "*** END OF THE PROJECT GUTENBERG EBOOK X ***\r\nlicence"
    )
    assert corpus.clean(raw.encode(), "x") == "One\n\n   verse\n     deeper\ntwo\n"


@given(st.text(min_size=1, max_size=400))
def test_a_split_loses_nothing_and_cuts_between_characters(text):
    parts = corpus.split(text)
    assert "".join(parts) == text
    size = len(text.encode())
    assert 0 <= len(parts[0].encode()) - size * 90 // 100 < 4


def test_a_folder_is_read_in_order_and_a_source_named_twice_is_read_twice(tmp_path):
    for name in ("b", "a"):
        (tmp_path / f"{name}.txt").write_text(f"text {name}\n")
    (tmp_path / "c.png").write_bytes(b"\x89PNG")
    assert [d.name for d in corpus.read([str(tmp_path), str(tmp_path / "a.txt")])] == ["a", "b", "a"]


def test_sources_that_are_no_text_get_one_sentence(tmp_path):
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("empty.txt", "folder", "pipe", "loop", "missing"):
        with pytest.raises(Refused, match=name) as refusal:
            list(corpus.read([str(tmp_path / name)]))
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("A wolf ran.\n".encode("utf-16-le"), "0x00 at offset 1"),  # no mark
        (b"\xff\xfe" + "A wolf ran\0.".encode("utf-16-le"), "0x00 at offset 10"),
        ("A wolf ran.\n".encode("utf-32"), "0x00 at offset"),
        ("Café, naïve.".encode()[:-6] + b"\xaf ran.", "UTF-8"),  # a damaged letter after a whole one
        ("Été".encode("utf-16")[:-1], "UTF-16"),
    ],
)
def test_damaged_text_is_not_taken_for_another_encoding(raw, said):
    with pytest.raises(Refused, match=said) as refusal:
        corpus.decode(raw, "prey.txt")
    assert "UTF-8" in str(refusal.value)


@pytest.mark.parametrize("start", [b"", b"x"])
@pytest.mark.parametrize("run", [b" ", b"\t", b"\t \n", b"\n"])
def test_a_long_run_of_spaces_is_cleaned_at_once(start, run):
    assert corpus.clean(start + run * 100_000 + b"x", "x").strip().endswith("x")


def test_what_cannot_be_read_in_a_folder_is_not_left_out_in_silence(tmp_path):
    (tmp_path / "tales" / "old").mkdir(parents=True)
    (tmp_path / "tales" / "new.txt").write_text("A wolf ran.\n")
    with read_only(tmp_path):
        assert len(list(corpus.read([str(tmp_path / "tales")]))) == 1
    (tmp_path / "tales" / "old").chmod(0)
    with read_only(tmp_path), pytest.raises(Refused, match=r"old cannot be read \(Permission denied\)"):
        list(corpus.read([str(tmp_path / "tales")]))
    (tmp_path / "tales" / "old").rmdir()
    (tmp_path / "tales" / "new.txt").chmod(0)
    with read_only(tmp_path), pytest.raises(Refused, match=r"new\.txt cannot be read \(Permission denied\)"):
        list(corpus.read([str(tmp_path / "tales")]))


def test_a_file_whose_name_is_no_text_still_has_a_name(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    with open(path, "w") as file:
        file.write("A wolf ran.\n")
    [document] = corpus.read([str(tmp_path)])
    assert document.name == "caf?"


def test_a_book_that_cannot_be_fetched_names_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(corpus.BOOKS, "jungle-book", "http://127.0.0.1:9/book.txt")  # a port where nobody listens
    with pytest.raises(Refused, match="--corpus FILE"):
        list(corpus.read(["jungle-book"]))


def test_typesetting_wraps_prose_and_indents_verse():
    prose = "He ran\u2014and ran " * 20
    assert corpus.typeset(f"{prose.strip()}\n\nOh, hear\nthe call", 40).endswith("\n\n     Oh, hear\n     the call")
    assert max(map(len, corpus.typeset(prose, 40).split("\n"))) <= 40
    assert "ran--and" in corpus.typeset(prose, 40)
    assert corpus.typeset("short\nlines", 40) == "short\nlines"


def test_a_url_is_fetched_once(tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "tale.txt").write_text("The old bear sang.\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked = []

    class Site(SimpleHTTPRequestHandler):
        def log_message(self, *words):
            asked.append(words)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Site, directory=tmp_path / "site")) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/tale.txt"
        first, second = list(corpus.read([url])), list(corpus.read([url]))
        server.shutdown()
    assert first[0].text == second[0].text == "The old bear sang.\n"
    assert len(asked) == 1
