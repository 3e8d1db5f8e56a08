"""Files that DJ programs and players read and write: rekordbox XML, Traktor NML, M3U8."""
