"""Many ntuples to files of jets: by this process, by several, by a cluster; shared with other runs on the same list."""

import errno
import logging
from dataclasses import replace

from cal_ratio_trainer.config.convert import ConvertSettings
from cal_ratio_trainer.errors import InputFileError, UserError
from cal_ratio_trainer.files.atomic import refuse_unusable_folder
from cal_ratio_trainer.files.remote import in_words
from cal_ratio_trainer.ntuple.file_conversion import convert_piece, convert_whole, join_pieces, looked_at_again
from cal_ratio_trainer.ntuple.request import ConversionRequest, requests_for
from cal_ratio_trainer.ntuple.summary import ConversionRow, ConversionSummary, Status, record_failures
from cal_ratio_trainer.progress import progress
from cal_ratio_trainer.workers.executor import TaskFailed, WorkerLost
from cal_ratio_trainer.workers.files import FileProgress, Steps, do_files
from cal_ratio_trainer.workers.opening import opened_executor

_log = logging.getLogger(__name__)


def convert_files(settings: ConvertSettings) -> ConversionSummary:
    """Converts all files of the settings; a bad one is a failed row and does not stop the others.

    Files that are done already, by the same options, are passed over; a file that another process converts at the
    moment is left to it. Files that fail are listed in failed_files.txt beside the results. A worker that is lost is
    no failure: others do its files again. The results do not depend on who works.

    Raises:
        ConfigError: no files, a file without a data type, signal without masses.
        UnusableOutput: the results cannot be written to the folder.
        SameOutput: two files would be written to one.
        SchedulerError: there is no such cluster, or it cannot do this.
        OSError: an output cannot be written.
    """
    if not settings.output_path.is_dir():
        # One that is there needs no writing if all files are done.
        refuse_unusable_folder(settings.output_path, "output_path")
    requests, not_found = requests_for(settings)
    with progress("convert", None, "events") as line:
        file_progress = FileProgress(line, len(requests))

        def finished(row: ConversionRow) -> None:
            file_progress.finish(read=row.status in (Status.CONVERTED, Status.NO_JETS))
            if row.status is Status.FAILED:
                line.message(f"{row.file}: failed: {row.reason}")

        with opened_executor(settings, len(requests), line.message) as executor:
            executor.on_progress = file_progress.report
            if executor.is_elsewhere:
                requests = [each.with_absolute_paths() for each in requests]
            rows = do_files(executor, requests, _STEPS, settings.lease_timeout, finished)
            rows = [looked_at_again(request, row) for request, row in zip(requests, rows, strict=True)]
    record_failures(rows)
    return ConversionSummary((*rows, *not_found))


def _begun(request: ConversionRequest) -> ConversionRequest:
    # An output that is not there now can appear only if a worker is lost after writing it; it is written again.
    return replace(request, overwrite=request.overwrite or not request.output.exists())


def _elsewhere(request: ConversionRequest) -> ConversionRow:
    return _row(request, Status.ELSEWHERE, "another process converts it")


def _failed(request: ConversionRequest, error: BaseException) -> ConversionRow:
    _log.info("%s: not converted", request.file, exc_info=error)
    if isinstance(error, InputFileError) and error.file == request.file:
        reason = error.reason
    elif isinstance(error, UserError):
        reason = str(error)
    elif isinstance(error, WorkerLost):
        reason = f"{error} while it was converted (out of memory?); run again to go on"
    elif isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        reason = "its name is so long that no output can be named after it"
    elif isinstance(error, OSError) and error.errno is not None:
        # The system's error on writing the output holds for the next file too.
        raise error
    else:
        # So that the files after it are converted.
        found = str(error) if isinstance(error, TaskFailed) else in_words(error)
        reason = f"an error that no check foresaw ({found}); -v shows where"
    return _row(request, Status.FAILED, reason)


def _row(request: ConversionRequest, status: Status, reason: str) -> ConversionRow:
    return ConversionRow(request.file, request.output, status, reason, data_type=request.selection.data_type)


_STEPS = Steps(_begun, convert_whole, convert_piece, join_pieces, _elsewhere, _failed)
