"""Links are followed within a directory alone, and new files have the permissions of the umask."""

import os
from pathlib import Path

import pytest

import transcoder
from tests.support.paths import GOLDEN
from transcoder.files.atomic import unwritable
from transcoder.files.links import leads_to

MODEL = GOLDEN / "roberta-model" / "tf_model.h5"


# Links


def test_a_link_is_followed_within_its_directory_or_to_blobs_of_the_hub(tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "repo" / "snapshots" / "0a1b" / "deep", tmp_path / "repo" / "blobs"
    for directory in (snapshot, blobs, tmp_path / "repo" / "blobs" / "within"):
        directory.mkdir(parents=True, exist_ok=True)
    for path in (snapshot / "near", blobs / "abc", blobs / "within" / "far", tmp_path / "outside"):
        path.write_text("x")
    leads = {}
    for name, target in {
        "near": "near", "blob": "../../../blobs/abc", "within": "../../../blobs/within/far",
        "outside": str(tmp_path / "outside"), "up": "../near", "nowhere": "/nowhere/at/all",
    }.items():  # fmt: skip
        link = snapshot / f"{name}.link"
        link.symlink_to(target)
        leads[name] = leads_to(link)
    (blobs / "abc").unlink()
    (blobs / "abc").symlink_to(tmp_path / "outside")
    assert leads["near"] is leads["blob"] is None
    assert leads["outside"] == tmp_path / "outside"
    assert None not in (leads["within"], leads["up"], leads["nowhere"])
    assert leads_to(snapshot / "blob.link") == tmp_path / "outside"  # for now the blob itself is a link
    assert leads_to(snapshot / "near") is None


@pytest.mark.parametrize(("umask", "file", "directory"), [(0o027, "0o640", "0o750"), (0o002, "0o664", "0o775")])
def test_new_files_have_the_permissions_that_the_umask_leaves(
    umask: int, file: str, directory: str, tmp_path: Path
) -> None:
    before = os.umask(umask)
    try:
        transcoder.convert(MODEL, tmp_path / "out")
    finally:
        os.umask(before)
    modes = {path.name: oct(path.stat().st_mode & 0o7777) for path in (tmp_path / "out").iterdir()}
    assert set(modes.values()) == {file}, modes
    assert oct((tmp_path / "out").stat().st_mode & 0o777) == directory


# What mutants of the code showed to be untested


def test_a_conversion_gives_all_its_files_back(tmp_path: Path) -> None:
    transcoder.convert(MODEL, tmp_path / "warm")
    before = set(Path("/proc/self/fd").iterdir())
    transcoder.convert(MODEL, tmp_path / "out", max_shard_size="20KB")
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_an_error_of_the_disk_names_the_file_where_the_system_does() -> None:
    (named,) = unwritable(Path("directory"), OSError(28, "No space left on device", "directory/file")).problems
    (unnamed,) = unwritable(Path("directory"), OSError(28, "No space left on device")).problems
    assert (named.where, unnamed.where) == ("directory/file", "directory")
    assert named.found == unnamed.found == "No space left on device"
