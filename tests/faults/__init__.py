"""Real faults: damaged files, killed commands, full disks, faulty servers."""

import multiprocessing
import os
import sys
from multiprocessing.context import ForkServerContext

PRELOADED = ("tests.faults.preloaded", "tests.faults.commands", "tests.faults.loaders", "tests.training.torchrun")
"""Modules that are imported once, before the processes of these tests are forked."""


def forking_context() -> ForkServerContext:
    """Returns a context whose processes are forked from one that has already imported everything."""
    # That process looks for modules where this one does.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context
