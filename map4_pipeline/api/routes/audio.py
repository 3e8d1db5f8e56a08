"""The sound of a track, as its file has it; browsers ask for it piece by piece."""

import logging
import mimetypes
import os

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse

from map4_pipeline.api.access import Listener
from map4_pipeline.api.context import context_of
from map4_pipeline.api.problems import Problem, not_found
from map4_pipeline.api.routes.tracks import TrackId
from map4_pipeline.store.details import track_file

router = APIRouter(prefix="/api/tracks", tags=["tracks"])
_log = logging.getLogger("map4.api.audio")
#: Types that browsers know by other names than the system's table, or that it lacks.
_TYPES = {".flac": "audio/flac", ".m4a": "audio/mp4", ".opus": "audio/ogg", ".ogg": "audio/ogg", ".wav": "audio/wav"}


@router.get(
    "/{track_id:int}/audio",
    response_class=FileResponse,
    responses={206: {"description": "The range that was asked for."}, 410: {"description": "The file is gone."}},
)
def get_audio(request: Request, track_id: TrackId, principal: Listener) -> FileResponse:
    """Play a track's file; `Range` gives a part of it. The path comes from the database alone and stays within the library."""
    context = context_of(request)
    with context.reading() as conn:
        found = track_file(conn, track_id, context.settings.path_map, principal.library_ids)
    if found is None:
        raise not_found(f"track {track_id}")
    root, path = found
    real, within = os.path.realpath(path), os.path.realpath(root)
    if not real.startswith(within.rstrip(b"/") + b"/"):
        _log.warning("track %d leads out of its library and is not served", track_id)
        raise not_found(f"file of track {track_id}")
    if not os.path.isfile(real):
        raise Problem(410, "gone", "The file is not where it was. MAP4 will say so in the next scan of its folder.")
    name = os.fsdecode(real)
    ending = os.path.splitext(name)[1].lower()
    kind = _TYPES.get(ending) or mimetypes.guess_type(f"x{ending}")[0] or ""
    # Never a type that a browser would run or show as a page.
    safe = kind if kind.startswith(("audio/", "video/")) else "application/octet-stream"
    return FileResponse(name, media_type=safe)
