"""Samples as they come: scores of every frame or window, and the words and labels heard in them."""
