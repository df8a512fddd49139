"""Recordings and what is known of them: utterances, manifests, corpora, batches."""
