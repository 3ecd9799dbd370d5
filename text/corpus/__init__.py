"""Corpora of documents: from files of any kind to clean, split and mixed shards."""
