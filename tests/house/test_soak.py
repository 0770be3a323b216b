"""The randomised soak (scripts/soak random), short: its own command line takes ten minutes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parent.parent.parent / "scripts" / "soak_random.py"


@pytest.mark.slow
@pytest.mark.root
def test_two_users_and_kills_at_any_instant(tmp_path: Path) -> None:
    """No case fails but those killed, verify finds all sound, nothing is left that prune doesn't name."""
    spec = importlib.util.spec_from_file_location("soak_random", SOAK)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["soak_random"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.random_soak(tmp_path, 20.0, 7)
    assert {name: found[name] for name in ("failures", "failed", "fail verify", "left")} == {"failures": 0, "failed": 0, "fail verify": 0, "left": 0}
    assert found["commands"] > 0
