"""From the recordings that a user names to results: in batches, in order, one error for each that fails."""
