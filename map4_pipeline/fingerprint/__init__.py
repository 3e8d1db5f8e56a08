"""How a recording is recognised: Chromaprint, the spectral hash, and the matching of two fingerprints."""

#: Bump when the fingerprint of the same audio could change.
FINGERPRINT_VERSION = "4"
#: Seconds from the start that a Chromaprint covers, as fpcalc's default.
FINGERPRINT_SECONDS = 120

__all__ = ["FINGERPRINT_SECONDS", "FINGERPRINT_VERSION"]
