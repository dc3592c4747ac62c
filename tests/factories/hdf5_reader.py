"""The process that reads HDF5 data, forked for each file from one that has imported what it needs.

As in the program, a file can crash, hang or end this process only. But the program starts a new one each time, which
takes a third of a second.
"""

import io
import os
import struct
import subprocess
import sys
from typing import Self

_HEADER = struct.Struct("<qQ")


class ForkingReader:
    """Stands in for `formats.hdf5_reader._run_reader`; its process ends with the one that made it."""

    def __init__(self, cpu_s: int = 10) -> None:
        """Makes a reader that starts its process when it is first used.

        Args:
            cpu_s: processor time that a file may take. [s]
        """
        self._cpu_s = cpu_s
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self._process.communicate()

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
        environment |= {"OPENBLAS_NUM_THREADS": "1", "HDF5_USE_FILE_LOCKING": "FALSE"}
        command = [sys.executable, __file__, str(self._cpu_s)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)

    def __call__(self, content: bytes) -> tuple[bytes, int]:
        """Returns standard output and exit status of the process that read the bytes of a file."""
        self._process = self._process or self._start()
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None
        assert answers is not None
        requests.write(_HEADER.pack(0, len(content)) + content)
        requests.flush()
        status, length = _HEADER.unpack(answers.read(_HEADER.size))
        return answers.read(length), status


def main(cpu_s: int) -> None:
    """Answers each request by a process of its own."""
    from cal_ratio_trainer.formats import hdf5_reader

    hdf5_reader._CPU_S = cpu_s
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while header := requests.read(_HEADER.size):
        content = requests.read(_HEADER.unpack(header)[1])
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                sys.stdin, sys.stdout = io.TextIOWrapper(io.BytesIO(content)), os.fdopen(writing, "w")
                sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123
                hdf5_reader.main()
                sys.stdout.flush()
                os._exit(0)
            finally:
                os._exit(1)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            answer = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        answers.write(_HEADER.pack(status, len(answer)) + answer)
        answers.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
