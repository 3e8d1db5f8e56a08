"""MAP4: folders of music to a PostgreSQL library, measured, fingerprinted and kept true."""

__version__ = "0.1.0"
