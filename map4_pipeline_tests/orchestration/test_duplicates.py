"""The asset `duplicates`: what a materialization tells."""

from pathlib import Path

from dagster import materialize
from sqlalchemy import Engine

from map4_pipeline.orchestration.assets import duplicates
from map4_pipeline.orchestration.resources import Map4Resource
from map4_pipeline.settings import Settings

from ..store.test_duplicates import FLAC, MP3, Shelf, noisy, walk


def test_a_materialization_tells_groups_bytes_and_what_to_keep(settings: Settings, engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Music").mkdir()
    shelf = Shelf(engine, settings.home, tmp_path / "Music")
    shelf.add("song.flac", walk(1), **FLAC, file_size=30_000_000)
    shelf.add("song.mp3", noisy(walk(1), 0.02), **MP3, file_size=2_000_000)
    result = materialize([duplicates], resources={"map4": Map4Resource()})
    told = {name: value.value for name, value in result.asset_materializations_for_node("duplicates")[0].metadata.items()}
    assert told["groups_same_recording"] == 1
    assert told["groups_identical_file"] == 0
    assert told["surplus_megabytes"] == 2.0
    assert told["contents_compared"] == 2
    (row,) = result.asset_materializations_for_node("duplicates")[0].metadata["open_groups"].records
    assert row.data["keep"].endswith("song.flac")
    assert "lossless" in row.data["why"]
    again = materialize([duplicates], resources={"map4": Map4Resource()})
    told = {name: value.value for name, value in again.asset_materializations_for_node("duplicates")[0].metadata.items()}
    assert (told["contents_compared"], told["groups_changed"]) == (0, 0)
