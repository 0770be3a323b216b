"""The folder of a run: what is written there, by whom, and what it says about where the run stands."""
