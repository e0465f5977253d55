"""Samples, shards, manifests, splits and captions: what a dataset generation is made of."""
