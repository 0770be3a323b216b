"""`--preload`: cases as forks of a process that has imported what they import (Linux)."""
