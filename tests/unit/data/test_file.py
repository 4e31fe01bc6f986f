from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treadle.data_provider.files import File, without_password


@pytest.mark.parametrize(
    ("url", "scheme", "netloc", "path", "filename"),
    [
        ("data.txt", "file", "", "data.txt", "data.txt"),
        ("a/b c.txt", "file", "", "a/b c.txt", "b c.txt"),
        ("/abs/100%25.txt", "file", "", "/abs/100%25.txt", "100%25.txt"),
        ("/odd/#1?x.txt", "file", "", "/odd/#1?x.txt", "#1?x.txt"),
        ("c:/x.txt", "file", "", "c:/x.txt", "x.txt"),
        ("file:///a%20b.txt", "file", "", "/a b.txt", "a b.txt"),
        ("file://host/a/b.txt", "file", "host", "/a/b.txt", "b.txt"),
        ("file:rel.txt", "file", "", "rel.txt", "rel.txt"),
        ("HTTP://h:80/a%20b.txt?q=1#f", "http", "h:80", "/a b.txt", "a b.txt"),
        ("https://h/dir/", "https", "h", "/dir/", "dir"),
        ("https://h", "https", "h", "", "h"),
        ("ftp://u:p@h/a.txt", "ftp", "u:p@h", "/a.txt", "a.txt"),
        ("s3://bucket/a%20b#c", "s3", "bucket", "/a%20b#c", "a%20b#c"),
        ("memory://x", "memory", "x", "", "x"),
        ("zip:/a.zip/in/b.txt", "zip", "", "/a.zip/in/b.txt", "b.txt"),
        ("globus://go#ep1/~/data/in.txt", "globus", "go#ep1", "/~/data/in.txt", "in.txt"),
    ],
)
def test_a_url_is_taken_apart(url, scheme, netloc, path, filename):
    file = File(url)
    assert (file.url, file.scheme, file.netloc) == (url, scheme, netloc)
    assert (file.path, file.filename, file.local_path) == (path, filename, None)


@pytest.mark.parametrize("name", ["plain.txt", "a b.txt", "http:x.txt", "data:2024 #1%.txt"])
def test_a_path_object_is_a_path_whatever_its_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("here")
    file = File(Path(name))
    assert file.scheme == "file"
    assert file.filename == name
    for same in (file, File(file.url), pickle.loads(pickle.dumps(file))):
        assert Path(same).read_text() == "here"
        assert same == file


def test_a_local_file_opens_like_a_path(tmp_path):
    file = File(tmp_path / "x.txt")
    with open(file, "w") as out:
        out.write("x")
    assert os.fspath(file) == str(file) == file.filepath == str(tmp_path / "x.txt")
    assert os.path.getsize(file) == 1


def test_a_remote_file_has_a_path_only_when_staged():
    file = File("http://user:secret@h/x.txt")
    with pytest.raises(ValueError, match=r"has no path on this machine.*inputs") as caught:
        _ = file.filepath
    assert "secret" not in str(caught.value)
    assert str(file) == file.url
    file.local_path = "work/x.txt"
    assert os.fspath(file) == str(file) == "work/x.txt"


def test_a_clean_copy_forgets_the_local_path_and_leaves_the_original():
    file = File("http://h/x.txt")
    file.local_path = "work/x.txt"
    clean = file.cleancopy()
    assert clean == file
    assert clean.local_path is None
    assert file.local_path == "work/x.txt"


def test_a_clean_copy_keeps_the_class():
    class Mine(File):
        pass

    assert type(Mine("x").cleancopy()) is Mine


def test_files_are_equal_when_their_urls_are():
    staged = File("http://h/x")
    staged.local_path = "x"
    assert staged == File("http://h/x")
    assert len({staged, File("http://h/x"), File("http://h/y")}) == 2
    assert File("x") != "x"


def test_a_pickled_file_keeps_the_path_that_its_task_needs():
    file = File("http://h/x")
    file.local_path = "work/x"
    assert pickle.loads(pickle.dumps(file)).filepath == "work/x"
    assert copy.deepcopy(file).filepath == "work/x"
    assert pickle.loads(pickle.dumps(file.cleancopy())).local_path is None


def test_the_repr_rebuilds_it():
    file = File("http://h/a b.txt")
    assert repr(file) == "File('http://h/a b.txt')"
    assert eval(repr(file)) == file


@pytest.mark.parametrize("bad", [3, None, b"x", ["x"]])
def test_what_is_no_path_is_refused_by_name(bad):
    with pytest.raises(TypeError, match=f"not {type(bad).__name__}"):
        File(bad)


@pytest.mark.parametrize("bad", ["", "a\0b"])
def test_what_cannot_be_a_name_is_refused(bad):
    with pytest.raises(ValueError, match="can be neither"):
        File(bad)


def test_messages_do_not_show_passwords():
    assert without_password("ftp://me:hush@h/x@y") == "ftp://me:***@h/x@y"
    assert without_password("http://h/a:b@c") == "http://h/a:b@c"
    assert without_password("plain") == "plain"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_any_path_comes_back_from_its_url(text):
    class Anything:
        def __fspath__(self):
            return text

    file = File(Anything())
    assert (file.scheme, file.filepath) == ("file", text)
    assert File(file.url).filepath == text
