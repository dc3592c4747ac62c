"""Version of the program, and the folder of its code; the package itself imports the public functions."""

from pathlib import Path

__version__ = "0.2.0"

CODE = Path(__file__).parent
