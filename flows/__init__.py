"""Prefect flows: order and time. Bodies call tasks only."""
