"""AI annotations: what a language model says about a track, checked against what was measured, with what it cost.

Alone it needs no database: hand `manager.Manager` tracks as `facts.TrackFacts`, providers and a purse. The SDKs of the providers
are imported when a provider is made.
"""

#: Version of what is kept as an annotation (`Annotation.to_dict`). Bumped when its meaning changes.
ANNOTATION_VERSION = "1"
