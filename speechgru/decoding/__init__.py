"""Scores to results: numpy in, hypotheses out; and what their confidences are worth."""
