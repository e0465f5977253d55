"""Prefect tasks: the edge between the orchestrator and `flywheel`. Bodies of a few lines."""
