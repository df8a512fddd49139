"""Runs of several recurrent cells side by side: accuracy, size, speed and memory."""
