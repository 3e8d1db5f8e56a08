"""`map4 evaluate`: how good tempo and key are on a user's own labelled files."""

import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from map4_pipeline.audio.evaluation import Answer
    from map4_pipeline.audio.truth import Label
    from map4_pipeline.settings import Settings


@click.command()
@click.argument("labels_file", metavar="TRUTH.csv", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--audio",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that the paths start from. Default: the folder of TRUTH.csv.",
)
@click.option("--errors", is_flag=True, help="Also list what was wrong.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: sets, calibration, files, missing.")
@click.option("--workers", type=click.IntRange(1, 1024), help="Processes that analyse at the same time. Default: one per core.")
def evaluate(labels_file: Path, audio: Path | None, errors: bool, as_json: bool, workers: int | None) -> None:
    """Analyse the files of TRUTH.csv and score tempo and key against its labels.

    TRUTH.csv has a line a file and the columns path, bpm and key (or true_bpm and true_key; one of the two is enough), and set if
    files are to be scored in groups. Keys may be spelled in any way, in Camelot or Open Key too.

    Tempo: Acc1 is within 4% (2%) of the label, Acc2 also takes a third, half, twice and three times it. Key: MIREX gives 1 for
    the key, 0.5 for a fifth off, 0.3 for the relative and 0.2 for the parallel key. A file that cannot be analysed counts as
    wrong, one that is not there is left out; both make the exit code 1.
    """
    from map4_pipeline.audio import evaluation, truth
    from map4_pipeline.audio.engines import load_engine
    from map4_pipeline.cli import lines
    from map4_pipeline.settings import settings

    configured = settings()
    load_engine(configured.engine)
    try:
        labels = truth.read_truth(labels_file, audio)
    except truth.TruthError as error:
        raise click.UsageError(str(error)) from None
    missing = [label for label in labels if not label.path.is_file()]
    if len(missing) == len(labels):
        raise click.UsageError(f"None of the {len(labels)} labelled files is there; the first would be {labels[0].path}.")
    present = [label for label in labels if label.path.is_file()]
    pairs = []
    for number, answer in enumerate(_answers(present, configured, workers or configured.workers), 1):
        pairs.append((present[number - 1], answer))
        if sys.stderr.isatty():
            click.echo(f"\r{number} of {len(present)} files", err=True, nl=number == len(present))
    if as_json:
        lines.write(lines.to_json(evaluation.as_json(pairs, missing), indent=2) + "\n")
    else:
        _show(pairs, missing, errors)
    sys.exit(1 if missing or any(answer.error for _, answer in pairs) else 0)


def _answers(labels: list["Label"], configured: "Settings", workers: int) -> Iterator["Answer"]:
    from map4_pipeline.audio.evaluation import Answer, measure
    from map4_pipeline.cli.analyze import in_pool

    def failed(path: bytes, kind: str, message: str) -> Answer:
        return Answer(error=message)

    files = ((os.fsencode(label.path), None) for label in labels)
    task = partial(measure, engine=configured.engine)
    return in_pool(files, lambda path: task, failed, configured, min(workers, len(labels)))


def _show(pairs: list[tuple["Label", "Answer"]], missing: list["Label"], errors: bool) -> None:
    from map4_pipeline.audio import evaluation
    from map4_pipeline.cli.console import make_console, printable

    console = make_console()
    for line in evaluation.table(evaluation.score(pairs)).splitlines():
        console.print(printable(line), soft_wrap=True)
    found = evaluation.calibrations(pairs)
    for line in evaluation.calibration_lines(found):
        console.print(line, soft_wrap=True)
    if not found:
        console.print(
            f"How far the confidences are to be trusted is told from {evaluation.MIN_FOR_CALIBRATION} labelled files on."
        )
    if missing:
        words = (
            "labelled files are not there and were left out"
            if len(missing) > 1
            else "labelled file is not there and was left out"
        )
        console.print(f"{len(missing)} {words}.")
    wrong = [(label.name, text) for label, answer in pairs if (text := "; ".join(evaluation.wrong(label, answer)))]
    if errors:
        for name, text in [*wrong, *((label.name, "is not there") for label in missing)]:
            console.print(f"{printable(name)}: {printable(text)}", soft_wrap=True)
    elif wrong:
        console.print(f"{len(wrong)} of {len(pairs)} files have something wrong; --errors lists them.")
