"""Bring images and labels into a workspace: sources, vendor layouts, decoding, duplicates and quarantine."""
