"""What a script imports first that needs sharedenv and the suite's helpers: it goes on in .venv, which is made where it is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv" / "bin" / "python"

if Path(sys.executable) != PYTHON:
    subprocess.run([ROOT / "scripts" / "setup", "test"], check=True)
    os.execv(PYTHON, [str(PYTHON), *sys.argv])
sys.path.insert(0, str(ROOT))
