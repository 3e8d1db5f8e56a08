"""Assets: the graph of DESIGN, one module per group."""

from map4_pipeline.orchestration.assets.analysis import analysis_assets, hamms_vectors
from map4_pipeline.orchestration.assets.annotations import ai_annotations
from map4_pipeline.orchestration.assets.enrichment import duplicates
from map4_pipeline.orchestration.assets.ingestion import scanned_files
from map4_pipeline.orchestration.assets.reporting import library_report, library_statistics

ALL_ASSETS = [scanned_files, analysis_assets, hamms_vectors, ai_annotations, duplicates, library_statistics, library_report]

__all__ = [
    "ALL_ASSETS",
    "ai_annotations",
    "analysis_assets",
    "duplicates",
    "hamms_vectors",
    "library_report",
    "library_statistics",
    "scanned_files",
]
