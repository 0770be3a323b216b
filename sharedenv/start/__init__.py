"""What every `exec`, `which`, `activate` and array task loads: from a script's bytes to an environment that is held."""
